"""What a scorer says of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from declip_rt.backends.contract import Floats

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Score:
    """What the model says of one image.

    technical, aesthetic: in [0, 1], higher is better. attributes: name -> value in [0, 1], whose ends the bundle names
    (`Head.low`, `Head.high`). percentile: the share, in percent, of the bundle's reference photos whose technical score
    is lower; None where the bundle has no reference. width, height: of the image, upright, in pixels. prompts: name ->
    value in [0, 1] of the scorer's own prompts. mos: head -> MOS, in the units of its raters, for each head that the
    bundle maps to MOS (`declip-rt calibrate`); None where it maps none.
    """

    technical: float
    aesthetic: float
    attributes: Mapping[str, float]
    percentile: float | None
    width: int
    height: int
    prompts: Mapping[str, float] = field(default_factory=dict)
    mos: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A plain, JSON-ready dictionary."""
        return {
            "technical": self.technical,
            "aesthetic": self.aesthetic,
            "attributes": dict(self.attributes),
            "percentile": self.percentile,
            "width": self.width,
            "height": self.height,
            "prompts": dict(self.prompts),
            "mos": None if self.mos is None else dict(self.mos),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The two parts of an image's feature, each float32 (D,) and L2-normalised."""

    perceptual: Floats
    semantic: Floats


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image before it is scored. size (bytes) and mtime_ns are those of its file, if it has one."""

    width: int
    height: int
    size: int | None = None
    mtime_ns: int | None = None
