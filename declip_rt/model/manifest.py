"""bundle.json as typed data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt

SCHEMA = 1
INPUT, OUTPUTS = "pixels", ("scores", "perceptual", "semantic")  # the tensors of every graph

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Scale = Annotated[float, msgspec.Meta(gt=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typed piece of bundle.json."""


class Placement(_Part, frozen=True):
    """Where one view is cut.

    The photo is shrunk to `short_side` pixels on its short side, but never enlarged to it. `x` and `y` place the square
    view in it, from 0 (left, top) to 1 (right, bottom).
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
        """The file at `path`, with its hash now. Raises OSError."""
        return cls(path.name, sha256_of(path))


class Limits(_Part, frozen=True):
    """What a Parity must keep to. None is no limit."""

    change: float
    cosine: float | None = None
    srcc: float | None = None

    def __str__(self) -> str:
        least = (("cosine", self.cosine), ("SRCC", self.srcc))
        parts = [f"{name} at least {value}" for name, value in least if value is not None]
        return ", ".join([*parts, f"change of a score at most {self.change}"])


class Parity(_Part, frozen=True):
    """How near a graph or an engine comes to the FP32 graph on the CPU, on `n` images.

    change: the largest change of a score, of all heads. cosine: the lowest cosine of a feature, perceptual or semantic;
    None where it was not measured. srcc: the lowest of the heads' rank correlations (Spearman) with the FP32 graph's
    scores; None where it was not measured, NaN where a head gives all images one score.
    """

    n: int
    change: float
    cosine: float | None = None
    srcc: float | None = None

    def keeps(self, limits: Limits) -> bool:
        """Whether all figures are within the limits. NaN is not, nor is a missing figure that has a limit."""
        pairs = ((self.cosine, limits.cosine), (self.srcc, limits.srcc))
        near = all(least is None or (value is not None and value >= least) for value, least in pairs)
        return near and self.change <= limits.change

    def __str__(self) -> str:
        cosine = "" if self.cosine is None else f"lowest cosine {self.cosine:.6f}, "
        srcc = "" if self.srcc is None else f", lowest SRCC {self.srcc:.4f}"
        return f"{cosine}largest change of a score {self.change:.5f}{srcc} on {self.n} images"


LIMITS = {  # by precision; fp32 is for engines other than the reference, ONNX Runtime on the CPU, and SRCC for bundles
    "fp32": Limits(change=0.01, cosine=0.999),
    "fp16": Limits(change=0.01, cosine=0.999),
    "bf16": Limits(change=0.01, cosine=0.999, srcc=0.998),
    "int8": Limits(change=0.02, srcc=0.998),
    "fp8": Limits(change=0.02, cosine=0.99, srcc=0.998),
}


class Graph(File, frozen=True):
    """An ONNX graph."""

    parity: Parity | None = None  # of a graph in lower precision


class TextTower(_Part, frozen=True):
    """What turns prompts into features: `tokens` int64 (M, L) -> `text` float32 (M, D), L2-normalised.

    With `familiar` the graph also gives `familiarity` float32 (M,): how near a text is to those of the training.
    """

    graph: Graph
    tokenizer: File  # tokenizer.json, of Hugging Face tokenizers
    context: Positive  # L
    scale: Scale  # CLIP's logit scale, which multiplies a cosine before the softmax
    familiar: float | None = None  # a text on how photos look, of less familiarity, gets a warning


class Head(_Part, frozen=True):
    """One column of the graph's `scores`, in [0, 1].

    quality: higher is better. attribute: `low` and `high` name its two ends, such as dark and bright, and `better` says
    which of them is better, if one is.
    """

    name: str
    kind: Literal["quality", "attribute"]
    method: Literal["learned", "zero-shot"]
    low: str
    high: str
    better: Literal["low", "high"] | None = None
    prompts: tuple[tuple[str, str], ...] = ()  # (low, high) antonym pairs of a zero-shot head


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How well scores and MOS agree on `n` photos.

    srcc: Spearman's rank correlation. plcc: Pearson's correlation. krcc: Kendall's tau-b. All in [-1, 1]. rmse: root of
    the mean squared error, in the units of the MOS.
    """

    n: int
    srcc: Estimate
    plcc: Estimate
    krcc: Estimate
    rmse: Estimate

    def figures(self) -> dict[str, Estimate]:
        """The measures by their usual names."""
        return {"SRCC": self.srcc, "PLCC": self.plcc, "KRCC": self.krcc, "RMSE": self.rmse}


class MosMap(_Part, frozen=True):
    """From a head's score to the MOS that the raters of `dataset` would give, in their units.

    The map is straight between its knots and flat beyond them. `scores` rise, and `values` only rise or only fall.
    `agreement` is by cross-validation: each photo's MOS is predicted by a map that was fit to other photos.
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
    """One measured line of the card. `low` and `high` are its 95 % interval; None where that was not measured."""

    what: str
    value: float
    n: int  # photos measured
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return str(Estimate(self.value, self.low, self.high))


class Source(_Part, frozen=True):
    """A set of images, texts or weights that the model was trained on."""

    name: str
    terms: str  # the licence, or what its owners say in place of one
    used_for: str
    photos: Positive | None = None  # how many it gave; None where that is not told


class Card(_Part, frozen=True):
    """What the model is, what it was trained on, what it was measured to do, and how."""

    summary: str
    figures: tuple[Figure, ...] = ()
    command: str = ""
    date: str = ""
    machine: str = ""
    data: tuple[Source, ...] = ()


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
        """Every file that the bundle has beside bundle.json, once."""
        text = (self.text.graph, self.text.tokenizer) if self.text else ()
        return tuple({(each.file, each.sha256): each for each in (*self.graphs.values(), *text)}.values())

    def write(self, folder: Path) -> None:
        """Writes the folder's bundle.json. Raises OSError."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=1)
        (folder / "bundle.json").write_bytes(text + b"\n")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
