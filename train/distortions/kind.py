"""What a distortion is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
RGB = NDArray[np.uint8]  # (H, W, 3)
Family = Literal["blur", "noise", "compression", "color", "tone", "spatial"]


@dataclass(frozen=True)
class Distortion:
    """`kind` at `strength` in (0, 5]: 1 is just visible, 5 extreme; strengths may lie between."""

    kind: str
    strength: float


@dataclass(frozen=True)
class Kind:
    """`function(rgb, amount, rng)`, and its amount at the strengths 0 (nothing) to 5.

    A function draws the same numbers at every amount, so that a series from one seed differs in strength alone.
    """

    family: Family
    function: Callable[[RGB, float, np.random.Generator], RGB]
    amounts: tuple[float, float, float, float, float, float]
    fault: bool = True  # it lowers the technical quality


def clip(values: NDArray[np.floating]) -> RGB:
    """Rounds to [0, 255]."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8, order="C")
