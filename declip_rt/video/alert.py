"""An alarm: a value that stays on the wrong side of a limit."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from declip_rt.errors import ConfigError

PATTERN = re.compile(r"\s*(\w+)\s*([<>])\s*(-?\d*\.?\d+)\s*(?:for\s+(\d*\.?\d+)\s*s?)?\s*")
SLACK = 1e-6  # seconds: times are sums of frame durations


class Turn(NamedTuple):
    """An alarm that begins (`end` is None) or is over; times in seconds."""

    start: float
    end: float | None


@dataclass
class Alert:
    """Follows one value of the samples."""

    text: str
    name: str
    sign: Literal["<", ">"]
    limit: float
    seconds: float = 0.0
    fired: bool = False
    _since: float | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Alert:
        """Reads "technical<0.35 for 5s". Raises ConfigError where it is none, or of no value among `names`."""
        match = PATTERN.fullmatch(text)
        if match is None:
            raise ConfigError(f"{text!r} is no alert; give one such as 'technical<0.35 for 5s'")
        name, sign, limit, seconds = match.groups()
        if name not in names:
            raise ConfigError(f"the alert {text!r} is of no value; choose one of {', '.join(names)}")
        return cls(text.strip(), name, sign, float(limit), float(seconds or 0))  # type: ignore[arg-type]

    def see(self, time: float, value: float) -> Turn | None:
        """Takes a sample, and returns the turn that it brings. The alarm begins once the value was wrong for long."""
        if value < self.limit if self.sign == "<" else value > self.limit:
            self._since = time if self._since is None else self._since
            if self.fired or time - self._since < self.seconds - SLACK:
                return None
            self.fired = True
            return Turn(self._since, None)
        turn = Turn(self._since, time) if self.fired and self._since is not None else None
        self.fired, self._since = False, None
        return turn
