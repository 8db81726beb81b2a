"""Figures for Prometheus, as the textfile collector of node_exporter reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from declip_rt.disk import write_whole

EVERY = 1.0  # seconds between two versions of the file, at least
KINDS = {
    "declip_technical": ("gauge", "technical quality of the newest sample, 0 to 1"),
    "declip_attribute": ("gauge", "the other heads of the newest sample, 0 to 1"),
    "declip_frames_total": ("counter", "frames read"),
    "declip_dropped_total": ("counter", "samples that were dropped, as scoring was behind"),
    "declip_freeze_seconds_total": ("counter", "seconds of frozen picture"),
    "declip_last_frame_timestamp_seconds": ("gauge", "when the newest frame was read, in seconds since 1970"),
}


@dataclass
class Metrics:
    """A file that holds whole figures at any time. stream: a label of all figures, where it is not empty."""

    path: Path
    stream: str = ""
    _written: float = field(default=float("-inf"), repr=False)

    def write(self, heads: Mapping[str, float], counts: Mapping[str, float], *, now: bool = False) -> None:
        """Writes the figures, but not within EVERY of the last time unless `now`.

        heads: of the newest sample, if there was one. counts: a value each for the names in KINDS that are no head.
        Raises OSError.
        """
        if not now and time.monotonic() - self._written < EVERY:
            return
        self._written = time.monotonic()
        lines = []
        for name, (kind, what) in KINDS.items():
            if name == "declip_technical":
                values = [("", heads["technical"])] if heads else []
            elif name == "declip_attribute":
                values = [(head, value) for head, value in heads.items() if head != "technical"]
            else:
                values = [("", counts[name])]
            lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{self._labels(head)} {value:.15g}" for head, value in values]
        write_whole(self.path, ("\n".join(lines) + "\n").encode())

    def _labels(self, head: str) -> str:
        """head: an attribute's name, or nothing."""
        given = {"name": head, "stream": self.stream}
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in given.items() if value)
        return f"{{{labels}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
