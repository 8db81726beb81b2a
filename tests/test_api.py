"""What users rely on: a change of these names and signatures is a decision, and stands in the changelog."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest

import declip_rt

NAMES = [
    "Bundle",
    "BundleError",
    "ConfigError",
    "DeclipError",
    "Embedding",
    "EngineError",
    "EngineInfo",
    "Event",
    "Frame",
    "Head",
    "ImageError",
    "ImageLike",
    "OnStream",
    "OutOfMemory",
    "ParityError",
    "Prompts",
    "Score",
    "Scorer",
    "Unavailable",
    "VideoScore",
    "VideoScorer",
]
SIGNATURES = {
    "Bundle": "(model: 'str | PathLike[str] | None' = None, *, verify: 'bool' = True) -> 'None'",
    "Bundle.percentile": "(self, head: 'str', score: 'float') -> 'float | None'",
    "EngineInfo": "(kind: 'Kind', index: 'int | None', name: 'str', precision: 'str', batch: 'int', lanes: 'int', "
    "fallback: 'str | None' = None) -> None",
    "ImageError": "(reason: 'str', image: 'str | None' = None, index: 'int | None' = None) -> 'None'",
    "Prompts": "(name: 'str', high: 'tuple[str, ...]', low: 'tuple[str, ...]', space: 'Space' = 'perceptual') -> None",
    "Scorer": "(model: 'str | os.PathLike[str] | None' = None, device: 'str' = 'auto', *, "
    "prompts: 'Sequence[Prompts]' = (), batch: 'int | None' = None, workers: 'int | None' = None, "
    "threads: 'int | None' = None, decode_scale: 'DecodeScale' = 'full', "
    "memory: 'int | None' = None, icc: 'bool' = True, strict: 'bool' = False, "
    "timeout: 'float | None' = 300.0, precision: 'Precision' = 'auto', lanes: 'int | None' = None, "
    "recipe: 'str | os.PathLike[str] | None' = None, decoder: 'Decoder' = 'cpu') -> 'None'",
    "Scorer.score": "(self, image: 'ImageLike', *, stream: 'object' = None) -> 'Score'",
    "Scorer.embed": "(self, image: 'ImageLike', *, stream: 'object' = None) -> 'Embedding'",
    "Scorer.score_many": "(self, images: 'Iterable[ImageLike]', *, return_errors: 'bool' = False) -> "
    "'Generator[Score] | Generator[Score | ImageError]'",
    "Scorer.embed_many": "(self, images: 'Iterable[ImageLike]', *, return_errors: 'bool' = False) -> "
    "'Generator[Embedding] | Generator[Embedding | ImageError]'",
    "Scorer.close": "(self) -> 'None'",
    "VideoScorer": "(scorer: 'Scorer', reference: 'Reference | None' = None) -> 'None'",
    "VideoScorer.score": "(self, source: 'Source', *, every: \"float | Literal['auto']\" = 1.0, "
    "fps: 'float | None' = None, keyframes: 'bool' = False, start: 'float' = 0.0, end: 'float | None' = None, "
    "color: 'str' = 'auto', deinterlace: 'bool' = False, allow_network: 'bool' = False) -> 'VideoScore'",
    "VideoScorer.stream": "(self, frames: 'Iterable[tuple[float, object]]', *, pixels: 'str' = 'rgb24', "
    "behind: 'Behind' = 'block') -> 'Iterator[tuple[float, Score]]'",
    "Score.flat": "(self) -> 'dict[str, Any]'",
    "Score.to_dict": "(self) -> 'dict[str, Any]'",
}
BASES = {
    "BundleError": ValueError,
    "ConfigError": ValueError,
    "EngineError": RuntimeError,
    "ImageError": ValueError,
    "OutOfMemory": declip_rt.EngineError,
    "ParityError": declip_rt.EngineError,
    "Unavailable": ImportError,
}


def test_the_names_are_these() -> None:
    assert declip_rt.__all__ == NAMES
    assert all(hasattr(declip_rt, name) for name in NAMES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_are_these(name: str) -> None:
    thing: object = declip_rt
    for part in name.split("."):
        thing = getattr(thing, part)
    assert str(inspect.signature(thing)) == SIGNATURES[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BASES)
def test_errors_are_builtin_ones_too(name: str) -> None:
    error = getattr(declip_rt, name)
    assert issubclass(error, declip_rt.DeclipError)
    assert issubclass(error, BASES[name])


def test_the_version_is_that_of_the_installation() -> None:
    assert declip_rt.__version__ == importlib.metadata.version("declip-rt")
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        declip_rt.version  # noqa: B018
