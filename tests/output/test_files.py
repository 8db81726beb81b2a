"""Files of rows: the same rows in every format, whole after a kill, and kept on resume."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.json
import pyarrow.parquet
import pytest

from declip_rt import Bundle, ConfigError
from declip_rt.output.files import Csv, JsonLines, LineFile, open_file
from declip_rt.output.records import Columns, Record, failed

ODD = 'a, "b"\n\udce9.jpg'


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


@pytest.fixture
def rows(bundle: Bundle, columns: Columns) -> list[Record]:
    scored = {name: {str: "x", int: 7, float: 0.125}[kind] for name, kind in columns.types.items()}
    return [scored | {"path": f"{i}.jpg", "error": None} for i in range(3)] + [failed(columns, ODD, "broken")]


def write(path: Path, columns: Columns, rows: list[Record], keep: Any = None) -> None:
    sink = open_file(path, columns, keep)
    for row in rows:
        sink.write(row)
    sink.close()


def told(path: str, suffix: str) -> str:
    """The path as a file of this suffix has it."""
    return path if suffix == ".csv" else path.replace("\udce9", "\\xe9")


def everything(record: Record) -> bool:
    return True


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_rows_come_back_as_they_were(tmp_path: Path, columns: Columns, rows: list[Record], suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, columns, rows)
    format = {".csv": Csv, ".jsonl": JsonLines}[suffix](columns)
    with path.open("rb") as file:
        assert list(format.parse(file)) == [row | {"path": told(row["path"], suffix)} for row in rows]


def test_csv_is_what_others_read(tmp_path: Path, columns: Columns, rows: list[Record]) -> None:
    write(tmp_path / "out.csv", columns, rows)
    with (tmp_path / "out.csv").open(newline="", errors="surrogateescape") as file:
        read = list(csv.DictReader(file))
    assert [row["path"] for row in read] == ["0.jpg", "1.jpg", "2.jpg", ODD]
    assert float(read[0]["technical"]) == 0.125
    assert read[3]["error"] == "broken"


def test_jsonl_is_what_others_read(tmp_path: Path, columns: Columns, rows: list[Record]) -> None:
    write(tmp_path / "out.jsonl", columns, rows)
    read = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert read == [row | {"path": told(row["path"], ".jsonl")} for row in rows]
    assert pyarrow.json.read_json(tmp_path / "out.jsonl").num_rows == len(rows)


def test_parquet_has_typed_columns_and_leaves_no_journal(tmp_path: Path, columns: Columns, rows: list[Record]) -> None:
    write(tmp_path / "out.parquet", columns, rows)
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["path"] for row in table] == ["0.jpg", "1.jpg", "2.jpg", 'a, "b"\n\\xe9.jpg']
    assert table[0]["technical"] == 0.125
    assert table[3]["technical"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_resume_keeps_what_still_holds(tmp_path: Path, columns: Columns, rows: list[Record], suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, columns, rows[:3])
    write(path, columns, rows[3:], keep=lambda record: record["path"] != "1.jpg")
    write(path, columns, [], keep=everything)
    if suffix == ".parquet":
        found = [row["path"] for row in pyarrow.parquet.read_table(path).to_pylist()]
        assert found == ["0.jpg", "2.jpg", 'a, "b"\n\\xe9.jpg']
    else:
        format = {".csv": Csv, ".jsonl": JsonLines}[suffix](columns)
        with path.open("rb") as file:
            assert [row["path"] for row in format.parse(file)] == ["0.jpg", "2.jpg", told(ODD, suffix)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_each_row_is_on_disk_at_once_and_a_torn_one_is_left_out(
    tmp_path: Path, columns: Columns, rows: list[Record], suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_file(path, columns)
    for row in rows[:2]:
        sink.write(row)
    whole = path.read_bytes()  # the sink is still open, as it is when a run is killed
    for cut in (1, 5, 30):
        path.write_bytes(whole[:-cut])
        write(path, columns, [rows[2]], keep=everything)
        format = {".csv": Csv, ".jsonl": JsonLines}[suffix](columns)
        with path.open("rb") as file:
            assert [row["path"] for row in format.parse(file)] == ["0.jpg", "2.jpg"]


def test_a_parquet_journal_survives_its_run(tmp_path: Path, columns: Columns, rows: list[Record]) -> None:
    path = tmp_path / "out.parquet"
    killed = open_file(path, columns)
    killed.write(rows[0])  # and never closed
    write(path, columns, rows[1:], keep=everything)
    assert pyarrow.parquet.read_table(path).num_rows == 4


def test_without_resume_a_file_starts_again(tmp_path: Path, columns: Columns, rows: list[Record]) -> None:
    write(tmp_path / "out.jsonl", columns, rows)
    write(tmp_path / "out.jsonl", columns, rows[:1])
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(("name", "content"), [("o.csv", "a,b\n1,2\n"), ("o.jsonl", '{"a": 1}\n')])
def test_a_file_with_other_columns_is_not_resumed_nor_touched(
    tmp_path: Path, columns: Columns, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match="other columns"):
        open_file(tmp_path / name, columns, everything)
    assert (tmp_path / name).read_text() == content


def test_unwritable_places(tmp_path: Path, columns: Columns) -> None:
    with pytest.raises(ConfigError, match="cannot open"):
        LineFile(tmp_path / "no" / "out.csv", Csv(columns))
