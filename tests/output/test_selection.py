"""Which rows are shown, and in what order."""

from __future__ import annotations

import pytest

from declip_rt import Bundle, ConfigError
from declip_rt.output.records import Columns, Record, failed
from declip_rt.output.selection import Part, Paths, Ranked


class Kept:
    """What was shown."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.is_closed = False

    def write(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.is_closed = True

    @property
    def names(self) -> str:
        return "".join(record["path"] for record in self.records)


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


def part(text: str | None) -> Part | None:
    return None if text is None else Part.parse("--top", text)


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (None, None, "dbca"), ("2", None, "db"), (None, "2", "ca"), ("1", "1", "da"), ("3", "3", "dbca"),
        ("50%", None, "db"), (None, "1%", "a"), ("100%", None, "dbca"), ("1", "26%", "dca"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("worst_first", [False, True])
def test_ranking(columns: Columns, top: str | None, bottom: str | None, expected: str, worst_first: bool) -> None:
    shown = Kept()
    ranked = Ranked(shown, "technical", part(top), part(bottom), worst_first)
    for name, technical in zip("abcd", (0.1, 0.5, 0.3, 0.9), strict=True):
        ranked.write(columns.record(path=name, technical=technical))
    ranked.write(failed(columns, "z", "broken"))
    assert shown.records == []
    ranked.close()
    assert shown.names == (expected[::-1] if worst_first else expected) + "z"
    assert shown.is_closed


def test_top_and_bottom_of_many_hold_few(columns: Columns) -> None:
    shown = Kept()
    ranked = Ranked(shown, "technical", Part(2), Part(1))
    for i in range(5000):
        ranked.write(columns.record(path=f"p{i}", technical=(i * 7919 % 5000) / 5000))
        assert len(ranked._scored) < 1100
    ranked.close()
    assert [record["technical"] for record in shown.records] == [4999 / 5000, 4998 / 5000, 0.0]


def test_ties_keep_their_order(columns: Columns) -> None:
    shown = Kept()
    ranked = Ranked(shown, "technical")
    for name in "abc":
        ranked.write(columns.record(path=name, technical=0.5))
    ranked.close()
    assert shown.names == "abc"


def test_what_has_no_value_is_lowest() -> None:
    shown = Kept()
    ranked = Ranked(shown, "preview")
    for path, preview in (("a", None), ("b", "2x2"), ("c", None), ("d", "1x1")):
        ranked.write({"path": path, "error": None, "preview": preview})
    ranked.close()
    assert [record["path"] for record in shown.records] == ["b", "d", "a", "c"]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "101%", "0%", "many", "%", ""])
def test_a_part_is_a_number_or_a_share(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--top .*: give a number of photos from 1 on, or a share such as 10%"):
        Part.parse("--top", text)


def test_paths_alone(columns: Columns, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for paths in (Paths(), Paths(0.4, b"\0")):
        for name, technical in (("a b", 0.3), ("caf\udce9", 0.35), ("c", 0.5)):
            paths.write(columns.record(path=name, technical=technical))
        paths.write(failed(columns, "z", "broken"))
        paths.close()
    assert capfdbinary.readouterr().out == b"a b\ncaf\xe9\nc\na b\0caf\xe9\0"
