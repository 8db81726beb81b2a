"""Lists as spreadsheets, shells and programs write them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from declip_rt import ConfigError
from declip_rt.images.lists import read_list

NAMES = ["a.jpg", "sub/b c.jpg", "ö, ü;.jpg"]


def read(folder: Path, name: str, content: bytes) -> list[str]:
    (folder / name).write_bytes(content)
    return [str(Path(path).relative_to(folder)) for path in read_list(str(folder / name))]


ENCODINGS = [
    (b"", "utf-8"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
]
UNMARKED = [(b"", "utf-16-le"), (b"", "utf-16-be")]


@pytest.mark.parametrize(
    ("mark", "encoding", "end"),
    [
        *((*encoding, end) for encoding in [*ENCODINGS, *UNMARKED] for end in ("\n", "\r\n")),
        *((*encoding, "\0") for encoding in ENCODINGS),
    ],
)
def test_text_in_any_encoding(tmp_path: Path, mark: bytes, encoding: str, end: str) -> None:
    assert read(tmp_path, "list.txt", mark + end.join([*NAMES, ""]).encode(encoding)) == NAMES


def test_blanks_and_quotes_around_a_path(tmp_path: Path) -> None:
    (tmp_path / " 'kept'.jpg ").touch()
    lines = " a.jpg\t\n\"sub/b c.jpg\"\n'c.jpg'\n 'kept'.jpg \n\""
    assert read(tmp_path, "list.txt", lines.encode()) == ["a.jpg", "sub/b c.jpg", "c.jpg", " 'kept'.jpg ", '"']


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("column", ["path", "Path", " Image Path ", "file_name", "FILE"])
def test_tables_of_spreadsheets(tmp_path: Path, delimiter: str, column: str) -> None:
    rows = [["id", column], *(["1", f'"{name}"'] for name in NAMES), ["", ""], ["2"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    for name in ("list.csv", "list.tsv"):
        assert read(tmp_path, name, text.encode()) == NAMES
    assert read(tmp_path, "list.csv", text.encode("utf-16")) == NAMES


def test_tables_of_programs(tmp_path: Path) -> None:
    lines = [json.dumps({"mos": 1, "image": name}) for name in NAMES]
    assert read(tmp_path, "list.jsonl", "\n".join([*lines, ""]).encode()) == NAMES
    assert read(tmp_path, "list.jsonl", "\n".join(map(json.dumps, NAMES)).encode()) == NAMES
    table = pyarrow.table({"mos": [1, 2, 3], "filename": NAMES})
    pyarrow.parquet.write_table(table, tmp_path / "list.parquet")
    assert [str(Path(path).relative_to(tmp_path)) for path in read_list(str(tmp_path / "list.parquet"))] == NAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 40, "it is not text"),
        ("list.parquet", b"path\na.jpg\n", "no Parquet file"),
        ("list.csv", b"mos\n3\n", "none of the columns path"),
        ("list.csv", b"", "none of the columns path"),
        ("list.csv", b"path\n" + b"a" * 11_000_000, "no CSV"),
        ("list.jsonl", b'{"path": "a.jpg"}\n{"path": 3}\n', "line 2: there is no path"),
        ("list.jsonl", b"a.jpg\n", "line 1: this is no JSON"),
        ("list.jsonl", b"[" * 100_000, "line 1: this is no JSON"),
        ("list.jsonl", b'{"mos": 3}', "none of the columns"),
    ],
)
def test_what_is_no_list_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, name, content)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    for name in ("nowhere.txt", "nowhere.parquet"):
        with pytest.raises(ConfigError, match="cannot read the list"):
            read_list(str(tmp_path / name))
