"""The table is readable, ranked when asked, and safe to print."""

from __future__ import annotations

import pytest

from declip_rt import Bundle, Prompts
from declip_rt.output.records import Columns, Record, failed
from declip_rt.output.terminal import Table, printable, shorten


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


def record(columns: Columns, bundle: Bundle, path: str, technical: float) -> Record:
    marks = bundle.manifest.calibration.percentiles  # type: ignore[union-attr]
    usual = {head.name: marks[head.name][50] for head in bundle.heads}
    return columns.record(**usual | {"path": path, "technical": technical, "percentile": 42.4})


def names(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[1:]]


def test_a_row_shows_the_numbers_and_the_failure(columns: Columns, bundle: Bundle) -> None:
    lines: list[str] = []
    table = Table(bundle, lines.append)
    table.write(record(columns, bundle, "a.jpg", 0.12345))
    table.write(failed(columns, "b.jpg", "the file is empty"))
    assert lines[0].split() == ["name", "technical", "aesthetic", "percentile", "findings"]
    assert lines[1].split()[:2] == ["a.jpg", "0.123"]
    assert lines[1].split()[3] == "42"
    assert lines[2].split(maxsplit=1) == ["b.jpg", "error: the file is empty"]


def test_prompts_are_columns_before_the_findings(bundle: Bundle) -> None:
    names = ["calm", "a long name of a prompt"]
    columns = Columns.of(bundle, [Prompts(name, ("a",), ("b",)) for name in names])
    lines: list[str] = []
    table = Table(bundle, lines.append, names)
    table.write(record(columns, bundle, "a.jpg", 0.5) | {"calm": 0.98765, names[1]: 0.25, "findings": "dark"})
    assert lines[0].split("percentile")[1].split() == ["calm", "…ame", "of", "a", "prompt", "findings"]
    assert lines[1].split()[4:] == ["0.988", "0.250", "dark"]
    assert lines[0].index("calm") + len("calm") == lines[1].index("0.988") + len("0.988")


def test_a_row_below_the_gate_says_so(columns: Columns, bundle: Bundle) -> None:
    lines: list[str] = []
    table = Table(bundle, lines.append, below=0.4)
    for technical, findings in ((0.3, None), (0.3, "dark"), (0.5, "dark")):
        table.write(record(columns, bundle, "a.jpg", technical) | {"findings": findings})
    assert [line.split("  ")[-1] for line in lines[1:]] == ["below 0.4", "below 0.4, dark", "dark"]


def test_names_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[31m\n\udce9é") == r"a\x1b[31m\n\udce9é"


def test_long_names_keep_their_end() -> None:
    assert shorten("a/very/long/path/to/photo.jpg", 12) == "…o/photo.jpg"
    assert shorten("short.jpg", 12) == "short.jpg"
