"""A file is there as a whole, or as it was; a byte order mark is no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt.disk import read_csv, read_text, write_whole


def test_bytes_and_what_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_whole(file, b"old")
    write_whole(file, lambda path: path.write_bytes(b"new"), shared=True)
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file], "nothing else is left"


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_half_written_replaces_nothing(tmp_path: Path, shared: bool) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")

    def half(path: Path) -> None:
        path.write_bytes(b"ne")
        assert file.read_bytes() == b"old"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_whole(file, half, shared=shared)
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_and_tables(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(mark + b'path,mos\r\n"caf\xe9.jpg",5\r\n')
    assert read_text(file).startswith("path,mos")
    assert list(read_csv(file)) == [{"path": "caf\udce9.jpg", "mos": "5"}]
