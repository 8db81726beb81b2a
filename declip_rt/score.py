"""What a scorer says of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from declip_rt.backends.contract import Floats


@dataclass(frozen=True, slots=True)
class Score:
    """What the model says of one image. `score["technical"]` gives any value by its name: see `flat`.

    Attributes:
        technical, aesthetic: in [0, 1], higher is better.
        attributes: name -> value in [0, 1], whose ends the bundle names (`Head.low`, `Head.high`).
        percentile: the share, in percent, of the bundle's reference photos whose technical score is lower; None where
            the bundle has no reference.
        width, height: of the image, upright, in pixels.
        prompts: name -> value in [0, 1] of the scorer's own prompts.
        damaged: what the image's decoder complained of; nothing where it did not.
        preview: of a camera's raw file, the size of the embedded preview that was scored in its place, and its own.
        mos: head -> MOS, in the units of its raters, for each head that the bundle maps to MOS (`declip-rt calibrate`).
    """

    technical: float
    aesthetic: float
    attributes: Mapping[str, float]
    percentile: float | None
    width: int
    height: int
    prompts: Mapping[str, float] = field(default_factory=dict)
    mos: Mapping[str, float] = field(default_factory=dict)
    damaged: str = ""
    preview: str = ""

    def flat(self) -> dict[str, Any]:
        """All values by their names, as a row of a table: a MOS is called `technical_mos`, as in the CLI's rows."""
        return {
            "width": self.width,
            "height": self.height,
            "technical": self.technical,
            "aesthetic": self.aesthetic,
            **self.attributes,
            **self.prompts,
            "percentile": self.percentile,
            **{f"{head}_mos": value for head, value in self.mos.items()},
            "damaged": self.damaged,
            "preview": self.preview,
        }

    def __getitem__(self, name: str) -> Any:
        """One of the values of `flat`. Raises KeyError, which lists the names."""
        values = self.flat()
        if name not in values:
            raise KeyError(f"{name!r}; a score has {', '.join(values)}")
        return values[name]

    def __hash__(self) -> int:
        return hash(tuple(self.flat().items()))

    def to_dict(self) -> dict[str, Any]:
        """A plain, JSON-ready dictionary, with the fields of this class."""
        return {
            "technical": self.technical,
            "aesthetic": self.aesthetic,
            "attributes": dict(self.attributes),
            "percentile": self.percentile,
            "width": self.width,
            "height": self.height,
            "prompts": dict(self.prompts),
            "mos": dict(self.mos),
            "damaged": self.damaged,
            "preview": self.preview,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The two parts of an image's feature, each float32 (D,) and L2-normalised."""

    perceptual: Floats
    semantic: Floats

    def __repr__(self) -> str:
        return f"Embedding(perceptual: float32 {self.perceptual.shape}, semantic: float32 {self.semantic.shape})"
