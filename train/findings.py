"""Claims that one feature tells more than another, and what the intervals say of them."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from declip_rt.model.manifest import Estimate
from train import intervals
from train.intervals import Read, Statistic

Side = tuple[str, Read]  # a feature's name, and what is read from it (..., N)


@dataclass(frozen=True)
class Finding:
    """A claim, that `more` tells more of `what` than `less` does, measured. `difference` is that of paired photos."""

    what: str
    more: str
    less: str
    figures: tuple[Estimate, Estimate]
    difference: Estimate

    @property
    def holds(self) -> bool:
        """Whether the interval of the difference is above 0."""
        return self.difference.low > 0

    def __str__(self) -> str:
        more, less = self.figures
        apart = "; the intervals are apart" if more.low > less.high or less.low > more.high else ""
        verdict = "holds" if self.holds else "does not hold"
        if not self.holds:
            verdict += ": it is the other way round" if self.difference.high < 0 else ": there may be no difference"
        return (
            f"{self.what}: {self.more} {more} against {self.less} {less}, difference {self.difference}{apart}. "
            f"The claim {verdict}."
        )


def compare(what: str, more: Side, less: Side, statistic: Statistic, photos: ArrayLike | None = None) -> Finding:
    """Measures the claim. photos: as in `intervals.estimate`."""
    (name, values), (other, others) = more, less
    figures = (intervals.measure(values, statistic, photos), intervals.measure(others, statistic, photos))
    difference = intervals.estimate(
        lambda some: statistic(values, some) - statistic(others, some), values.shape[-1], photos
    )
    return Finding(what, name, other, figures, difference)
