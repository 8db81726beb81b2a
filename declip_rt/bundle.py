"""A bundle: a model on disk, as a folder with `bundle.json` and the graphs that it names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt

from declip_rt.agreement import Agreement
from declip_rt.errors import BundleError

SCHEMA = 1
EMBEDDED = Path(__file__).parent / "bundles"
DEFAULT = "declip-tiny"

LEAST_SRCC, MOST_CHANGE = 0.998, 0.02  # of a graph in lower precision that may stand in for the FP32 one

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Scale = Annotated[float, msgspec.Meta(gt=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typed piece of bundle.json."""


class Placement(_Part, frozen=True):
    """Where one view is cut.

    The photo is taken as if it had `short_side` pixels on its short side, but is never enlarged for it; `x` and `y`
    place the square view in it, from 0 (left, top) to 1 (right, bottom).
    """

    short_side: Positive
    x: Fraction = 0.5
    y: Fraction = 0.5


class ViewSpec(_Part, frozen=True):
    """The V square views, `size` pixels a side, that the model sees of one image."""

    size: Positive
    placements: Annotated[tuple[Placement, ...], msgspec.Meta(min_length=1)]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(V, S, S, 3)"""
        return len(self.placements), self.size, self.size, 3


class File(_Part, frozen=True):
    """A file of the bundle, by its name in the folder."""

    file: str
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file that is there now. Raises OSError."""
        return cls(path.name, _sha256(path))


class Parity(_Part, frozen=True):
    """How near the scores of a graph are to those of the FP32 one, on `n` photos: the worst of all heads."""

    srcc: float
    change: float  # the largest
    n: int

    @property
    def is_proven(self) -> bool:
        return self.srcc >= LEAST_SRCC and self.change <= MOST_CHANGE


class Graph(File, frozen=True):
    """An ONNX graph."""

    parity: Parity | None = None  # of a graph in lower precision


class TextTower(_Part, frozen=True):
    """What turns prompts into features: `tokens` int64 (M, L) -> `text` float32 (M, D), L2-normalised."""

    graph: Graph
    tokenizer: File  # tokenizer.json, of Hugging Face tokenizers
    context: Positive  # L
    scale: Scale  # CLIP's logit scale: what a cosine is multiplied by before the softmax


class Head(_Part, frozen=True):
    """One column of the graph's `scores`, in [0, 1].

    quality: higher is better. attribute: `low` and `high` name its two ends, such as dark and bright.
    """

    name: str
    kind: Literal["quality", "attribute"]
    method: Literal["learned", "zero-shot"]
    low: str
    high: str
    prompts: tuple[tuple[str, str], ...] = ()  # (low, high) antonym pairs of a zero-shot head


class MosMap(_Part, frozen=True):
    """From a head's score to the MOS that the raters of `dataset` would give, in their units.

    Straight between the knots (`scores` rise; `values` only rise or only fall), flat beyond them. `agreement` is by
    cross-validation: that of maps fit to the other photos.
    """

    dataset: str
    scores: Annotated[tuple[float, ...], msgspec.Meta(min_length=2)]
    values: tuple[float, ...]
    agreement: Agreement

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.values):
            raise ValueError(f"the map to MOS has {len(self.scores)} scores for {len(self.values)} values")
        steps = np.diff(self.values)
        if (np.diff(self.scores) <= 0).any() or ((steps < 0).any() and (steps > 0).any()):
            raise ValueError("the map to MOS is not monotone")

    def __call__(self, score: float) -> float:
        return float(np.interp(score, self.scores, self.values))


class Calibration(_Part, frozen=True):
    """What a head's score means.

    percentiles: head -> its scores at the percentiles 0, 1, ..., 100 of the `reference` photos. mos: head -> MosMap.
    """

    reference: str = ""
    percentiles: dict[str, Annotated[tuple[float, ...], msgspec.Meta(min_length=101, max_length=101)]] = {}
    mos: dict[str, MosMap] = {}

    @staticmethod
    def marks(scores: npt.ArrayLike) -> tuple[float, ...]:
        """The percentiles 0, 1, ..., 100 of a head's scores (n,)."""
        return tuple(np.percentile(np.asarray(scores, np.float64), np.arange(101)).tolist())


class Figure(_Part, frozen=True):
    """One measured line of the accuracy card."""

    what: str
    value: float
    n: int  # photos measured


class Card(_Part, frozen=True):
    """What the model is, what it was measured to do, and how."""

    summary: str
    figures: tuple[Figure, ...] = ()
    command: str = ""
    date: str = ""
    machine: str = ""


class Manifest(_Part, frozen=True):
    """The contents of bundle.json."""

    schema: Literal[1]
    name: str
    licence: str
    checkpoint_sha256: Sha256
    views: ViewSpec
    graphs: dict[str, Graph]  # precision: graph
    heads: tuple[Head, ...]
    features: Positive  # D of the perceptual and the semantic feature
    card: Card
    calibration: Calibration | None = None
    text: TextTower | None = None

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that the bundle has beside bundle.json."""
        text = (self.text.graph, self.text.tokenizer) if self.text else ()
        return (*self.graphs.values(), *text)

    def write(self, folder: Path) -> None:
        """Writes the folder's bundle.json. Raises OSError."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=1)
        (folder / "bundle.json").write_bytes(text + b"\n")


class Bundle:
    """An opened bundle. Opening checks the schema and, unless `verify` is False, every file's hash.

    Args:
        model: a folder with a bundle.json, the name of an embedded bundle, or None for `declip-tiny`.

    Raises:
        BundleError: nothing there, not a bundle, another schema, or a file that is missing or altered.
    """

    def __init__(self, model: str | PathLike[str] | None = None, *, verify: bool = True) -> None:
        self.path = _find(model)
        file = self.path / "bundle.json"
        try:
            text = file.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {file}: {error.strerror}") from error
        self.hash = hashlib.sha256(text).hexdigest()
        self.manifest = _parse(text, file)
        if verify:
            self.verify()

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.manifest.heads

    @property
    def views(self) -> ViewSpec:
        return self.manifest.views

    def graph(self, precision: str = "fp32") -> Path:
        """The path of one ONNX graph. Raises BundleError where the bundle has none of this precision."""
        if precision not in self.manifest.graphs:
            has = ", ".join(self.manifest.graphs)
            raise BundleError(f"{self.path} has no {precision} graph; it has: {has}. Export it again to add one.")
        return self.path / self.manifest.graphs[precision].file

    def precision(self, wanted: str = "auto") -> str:
        """The graph to take on a CPU: `auto` is int8 where the bundle proves that it scores as fp32 does, else fp32."""
        if wanted != "auto":
            return wanted
        graph = self.manifest.graphs.get("int8")
        return "int8" if graph and graph.parity and graph.parity.is_proven else "fp32"

    def verify(self) -> None:
        """Compares every file with its sha256. Raises BundleError for the first that differs."""
        for part in self.manifest.files:
            file = self.path / part.file
            try:
                found = _sha256(file)
            except OSError as error:
                raise BundleError(
                    f"cannot read {file}: {error.strerror}; export or install the bundle again"
                ) from error
            if found != part.sha256:
                raise BundleError(
                    f"{file} was altered: sha256 is {found[:12]}…, bundle.json says {part.sha256[:12]}…; "
                    "export or install the bundle again"
                )

    @property
    def mos(self) -> Mapping[str, MosMap]:
        """The heads' maps to MOS; empty where the bundle was calibrated to none."""
        return self.manifest.calibration.mos if self.manifest.calibration else {}

    def percentile(self, head: str, score: float) -> float | None:
        """The share, in percent, of the reference photos that score lower. None where the bundle has no reference."""
        if head not in self._references:
            return None
        return float(np.interp(score, self._references[head], np.arange(101.0)))

    @cached_property
    def _references(self) -> Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        calibration = self.manifest.calibration
        return {name: np.array(values) for name, values in calibration.percentiles.items()} if calibration else {}


def embedded() -> list[str]:
    """The names of the bundles that ship inside the package."""
    return sorted(folder.parent.name for folder in EMBEDDED.glob("*/bundle.json"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(model: str | PathLike[str] | None) -> Path:
    if model is None:
        return EMBEDDED / DEFAULT
    path = Path(model)
    if (path / "bundle.json").is_file():
        return path
    if str(model) in embedded():
        return EMBEDDED / str(model)
    what = "is a folder without bundle.json" if path.is_dir() else "is neither a folder nor an embedded model"
    raise BundleError(f"{str(model)!r} {what}; embedded models: {', '.join(embedded()) or 'none'}")


def _parse(text: bytes, file: Path) -> Manifest:
    try:
        schema = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("schema", msgspec.Raw(b"none"))
        if bytes(schema) != b"%d" % SCHEMA:
            found = bytes(schema).decode()
            raise BundleError(
                f"{file} has schema {found}, this version reads {SCHEMA}; export it again or update declip-rt"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{file} is not a bundle of schema {SCHEMA}: {error}") from error
    names = [head.name for head in manifest.heads]
    if missing := {"technical", "aesthetic"} - set(names):
        raise BundleError(f"{file} lacks the head {' and '.join(sorted(missing))}")
    if len(set(names)) < len(names):
        raise BundleError(f"{file} names a head twice")
    if manifest.calibration and (unknown := manifest.calibration.mos.keys() - set(names)):
        raise BundleError(f"{file} has a map to MOS for {min(unknown)!r}, which is no head of it")
    if any(Path(part.file).name != part.file for part in manifest.files):
        raise BundleError(f"{file} names a file outside its folder")
    if not manifest.graphs:
        raise BundleError(f"{file} names no graph")
    return manifest
