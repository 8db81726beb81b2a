"""The table is readable, ranked when asked, and safe to print."""

from __future__ import annotations

import pytest

from declip_rt import Bundle, Prompts
from declip_rt.output.records import Columns, Record, failed
from declip_rt.output.terminal import Ranked, Table, printable, shorten


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
    table.write(record(columns, bundle, "a.jpg", 0.5) | {"calm": 0.98765, names[1]: 0.25, "brightness": 0.0})
    assert lines[0].split("percentile")[1].split() == ["calm", "…ame", "of", "a", "prompt", "findings"]
    assert lines[1].split()[4:] == ["0.988", "0.250", "dark"]
    assert lines[0].index("calm") + len("calm") == lines[1].index("0.988") + len("0.988")


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [(None, None, "dbca"), (2, None, "db"), (None, 2, "ca"), (1, 1, "da"), (3, 3, "dbca")],
)
def test_ranking(columns: Columns, bundle: Bundle, top: int | None, bottom: int | None, expected: str) -> None:
    lines: list[str] = []
    ranked = Ranked(Table(bundle, lines.append), "technical", top, bottom)
    for name, technical in zip("abcd", (0.1, 0.5, 0.3, 0.9), strict=True):
        ranked.write(record(columns, bundle, name, technical))
    ranked.write(failed(columns, "z", "broken"))
    assert lines == []
    ranked.close()
    assert names(lines) == [*expected, "z"]


def test_top_and_bottom_of_many_hold_few(columns: Columns, bundle: Bundle) -> None:
    lines: list[str] = []
    ranked = Ranked(Table(bundle, lines.append), "technical", 2, 1)
    for i in range(5000):
        ranked.write(record(columns, bundle, f"p{i}", (i * 7919 % 5000) / 5000))
        assert len(ranked._scored) < 1100
    ranked.close()
    values = [float(line.split()[1]) for line in lines[1:]]
    assert values == [1.0, 1.0, 0.0]


def test_ties_keep_their_order(columns: Columns, bundle: Bundle) -> None:
    lines: list[str] = []
    ranked = Ranked(Table(bundle, lines.append), "technical")
    for name in "abc":
        ranked.write(record(columns, bundle, name, 0.5))
    ranked.close()
    assert names(lines) == ["a", "b", "c"]


def test_names_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[31m\n\udce9é") == r"a\x1b[31m\n\udce9é"


def test_long_names_keep_their_end() -> None:
    assert shorten("a/very/long/path/to/photo.jpg", 12) == "…o/photo.jpg"
    assert shorten("short.jpg", 12) == "short.jpg"
