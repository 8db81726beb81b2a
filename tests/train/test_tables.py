"""A table reads the same in both of its forms."""

from __future__ import annotations

import csv

from declip_rt.model.manifest import Estimate
from train.tables import Table

TABLE = Table("a title", "A note.", ("what", "SRCC", "n"), (("one", Estimate(0.5, 0.25, 0.75), 3), ("two", 0.1234, 4)))


def test_markdown() -> None:
    assert TABLE.markdown().splitlines() == [
        "## a title",
        "",
        "A note.",
        "",
        "| what | SRCC | n |",
        "| --- | --- | --- |",
        "| one | 0.500 (0.250 to 0.750) | 3 |",
        "| two | 0.123 | 4 |",
    ]


def test_csv_has_a_column_for_each_end_of_an_interval() -> None:
    rows = list(csv.reader(TABLE.csv().splitlines()))
    assert rows[0] == ["what", "SRCC", "SRCC low", "SRCC high", "n"]
    assert rows[1] == ["one", "0.5", "0.25", "0.75", "3"]
    assert rows[2] == ["two", "0.1234", "", "", "4"]
