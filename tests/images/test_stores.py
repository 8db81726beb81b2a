"""Tars, zips and Parquet tables: their images are found and read where they lie, whatever a stranger packed."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from declip_rt.errors import ImageError
from declip_rt.images import sources
from declip_rt.images.stores import parquet
from declip_rt.images.stores.choose import Stores, expand_ranges
from tests.conftest import encoded as jpeg
from tests.conftest import picture

PHOTOS = {f"{i}.jpg": jpeg(picture(i, 64, 48)) for i in range(3)}


def tar_of(path: Path, files: list[tuple[str, bytes]], **options: object) -> Path:
    with tarfile.open(path, "w", **options) as tar:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, files: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as zipped:
        for name, data in files:
            zipped.writestr(name, data)
    return path


def table_of(path: Path, images: list[object], **options: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({"label": range(len(images)), "image": images}), path, **options)
    return path


def listed(*paths: object, column: str | None = None, exclude: tuple[str, ...] = ()) -> tuple[list[str], str]:
    skipped = sources.Skipped()
    return list(sources.expand(map(str, paths), exclude, skipped, Stores(column))), str(skipped)


def reason(path: str, most: int | None = None) -> str:
    with pytest.raises(ImageError) as raised:
        sources.read(path, most)
    return raised.value.reason


archives = pytest.mark.parametrize(("make", "suffix"), [(tar_of, ".tar"), (zip_of, ".zip")])


@archives
def test_members_are_what_a_folder_would_give(make: object, suffix: str, tmp_path: Path) -> None:
    files = [("b/1.jpg", PHOTOS["1.jpg"]), ("0.JPG", PHOTOS["0.jpg"]), ("1.txt", b"a caption"), (".x/h.jpg", b"")]
    files += [("__MACOSX/1.jpg", b""), ("no", b""), ("b/1_thumb.jpg", b"")]
    path = make(tmp_path / f"s{suffix}", files)  # type: ignore[operator]
    found, skipped = listed(path, path, exclude=("*_thumb.jpg",))
    assert found == [f"{path}#b/1.jpg", f"{path}#0.JPG"]
    assert sources.read(found[0]).data == PHOTOS["1.jpg"]
    assert sources.stamp(found[1]) == (len(PHOTOS["0.jpg"]), path.stat().st_mtime_ns)
    for count in ("2 hidden", "1 .txt", "1 without a suffix", "1 by --exclude", "1 other names of the same file"):
        assert count in skipped


def test_archives_in_folders_are_counted_not_opened(tmp_path: Path) -> None:
    tar_of(tmp_path / "s.tar", [*PHOTOS.items()])
    assert listed(tmp_path) == ([], "1 skipped: 1 .tar")
    assert len(listed(tmp_path / "*.tar")[0]) == 3


def test_without_stores_an_archive_is_a_file(tmp_path: Path) -> None:
    path = str(tar_of(tmp_path / "s.tar", [*PHOTOS.items()]))
    assert list(sources.expand([path])) == [path]


def test_ranges_of_names(tmp_path: Path) -> None:
    assert [*expand_ranges("s-{08..10}.tar")] == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert [*expand_ranges("{0..1}/{9..10}")] == ["0/9", "0/10", "1/9", "1/10"]
    assert [*expand_ranges("{a..b}.tar")] == ["{a..b}.tar"]
    odd = tmp_path / "{0..1}.tar"
    odd.touch()
    assert [*expand_ranges(str(odd))] == [str(odd)]
    tar_of(tmp_path / "0.tar", [("a.jpg", PHOTOS["0.jpg"])])
    found, _ = listed(tmp_path / "{0..2}.tar", odd)
    assert found[0] == f"{tmp_path}/0.tar#a.jpg"
    assert [reason(name) for name in found[1:3]] == ["cannot be read: No such file or directory"] * 2


@archives
def test_names_are_names_alone(make: object, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "a#b.jpg", "\u00fc\n.jpg"]
    path = make(tmp_path / "in" / f"s{suffix}", [(name, PHOTOS["0.jpg"]) for name in names])  # type: ignore[operator]
    found, _ = listed(path)
    assert len(found) == 4
    assert {sources.read(name).data for name in found} == {PHOTOS["0.jpg"]}


@archives
def test_a_name_that_comes_again_is_another_image(make: object, suffix: str, tmp_path: Path) -> None:
    files = [("a.jpg", PHOTOS["0.jpg"]), ("a.jpg", PHOTOS["1.jpg"]), ("a.jpg#2", b""), ("a.jpg", PHOTOS["2.jpg"])]
    with pytest.warns(UserWarning, match="Duplicate") if suffix == ".zip" else pytest.MonkeyPatch.context():
        path = make(tmp_path / f"s{suffix}", files)  # type: ignore[operator]
    found, _ = listed(path)
    assert found == [f"{path}#a.jpg", f"{path}#a.jpg#2", f"{path}#a.jpg#3"]
    assert [sources.read(name).data for name in found] == [*PHOTOS.values()]


def test_links_and_devices_in_a_tar_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("a.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert listed(path)[0] == []


def test_links_in_a_zip_are_no_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as zipped:
        info = zipfile.ZipInfo("a.jpg")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
    assert listed(tmp_path / "s.zip")[0] == []


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_tar(format: int, tmp_path: Path) -> None:
    name = f"{'d' * 90}/{'e' * 90}.jpg"
    path = tar_of(tmp_path / "s.tar", [(name, PHOTOS["0.jpg"])], format=format)
    assert listed(path)[0] == [f"{path}#{name}"]


def test_a_tar_that_was_cut_off_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "s.tar", [*PHOTOS.items()])
    whole = path.read_bytes()
    last = whole.index(b"2.jpg")
    path.write_bytes(whole[: last + 700])  # within the last photo
    found, _ = listed(path)
    assert found == [*(f"{path}#{i}.jpg" for i in range(3)), str(path)]
    assert sources.read(found[1]).data == PHOTOS["1.jpg"]
    assert "the tar ends before it does" in reason(found[2])
    assert "damaged or cut off here" in reason(found[3])
    for end, what in ((last, "no mark of its end"), (last + 100, "a block that is no header")):
        path.write_bytes(whole[:end])
        found, _ = listed(path)
        assert found == [f"{path}#0.jpg", f"{path}#1.jpg", str(path)]
        assert what in reason(found[2])


def test_a_tar_whose_header_is_damaged_says_so(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "s.tar", [*PHOTOS.items()])
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"1.jpg")] ^= 1
    path.write_bytes(whole)
    found, _ = listed(path)
    assert found == [f"{path}#0.jpg", str(path)]
    assert "a block that is no header" in reason(found[1])


@pytest.mark.parametrize("size", [-512, -(2**40), 2**40, 2**70])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_that_lies_about_sizes_takes_no_memory(size: int, kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.type = kind
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[124:136] = bytes((0xFF if size < 0 else 0x80,)) + (size % 2**88).to_bytes(11, "big")
    head[148:156] = b"%06o\0 " % sum(head[:148] + b" " * 8 + head[156:])
    path = tmp_path / "s.tar"
    path.write_bytes(bytes(head) + bytes(10240))
    found, _ = listed(path)
    assert found
    for name in found:
        assert reason(name, 2**20)


def test_a_size_is_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = tar_of(tmp_path / "s.tar", [("a.jpg", bytes(5000))])
    zipped = zip_of(tmp_path / "s.zip", [("a.jpg", bytes(5000))])
    found, _ = listed(tar, zipped)
    monkeypatch.setattr(os, "read", None)
    assert {reason(name, 4999) for name in found} == {"a file of 5,000 bytes; 4,999 are allowed (--memory)"}


def test_a_zip_bomb_unpacks_no_more_than_it_says(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "s.zip", [("a.jpg", bytes(50_000_000))])
    data = path.read_bytes().replace((50_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    path.write_bytes(data)
    [name] = listed(path)[0]
    assert "its size or its checksum is another" in reason(name, 100_000)


def test_zips_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "s.zip", [*PHOTOS.items()], zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert "the zip is damaged or cut off" in reason(*listed(path)[0])
    path.write_bytes(whole.replace(PHOTOS["1.jpg"][100:110], b"0123456789"))
    assert "checksum" in reason(listed(path)[0][1])
    path.write_bytes(b"PK\3\5" + whole[4:])
    assert "no header at its place" in reason(listed(path)[0][0])
    locked = bytearray(whole)
    locked[whole.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(locked)
    assert "encrypted: unpack the zip with its password" in reason(listed(path)[0][0])
    zip_of(path, [*PHOTOS.items()], zipfile.ZIP_LZMA)
    assert "packed by method 14 (lzma)" in reason(listed(path)[0][0])


@pytest.mark.parametrize("name", ["s.tar", "s.zip", "s.parquet", "s.tar.gz", "s.TGZ"])
def test_what_is_no_archive_is_an_error_of_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for data in (b"", b"nothing of the kind" * 100):
        path.write_bytes(data)
        [found] = listed(path)[0]
        assert found == str(path)
        assert "damaged or cut off" in reason(found) or "decompress it first" in reason(found)
    path.unlink()
    os.mkfifo(path)
    [found] = listed(path)[0]
    assert "not a regular file" in reason(found) or "decompress it first" in reason(found)


def test_rows_have_their_paths_or_their_numbers(tmp_path: Path) -> None:
    photos = [*PHOTOS.values()]
    plain = table_of(tmp_path / "plain.parquet", photos, row_group_size=2)
    found, _ = listed(plain)
    assert found == [f"{plain}#{i}" for i in range(3)]
    assert [sources.read(name).data for name in reversed(found)] == photos[::-1]
    assert sources.stamp(found[0]) == (None, plain.stat().st_mtime_ns)
    paths = ["x/a.jpg", None, "x/a.jpg"]
    structs = [{"bytes": data, "path": path} for data, path in zip(photos, paths, strict=True)]
    named = table_of(tmp_path / "named.parquet", structs, row_group_size=1)
    found, _ = listed(named)
    assert found == [f"{named}#x/a.jpg", f"{named}#1", f"{named}#x/a.jpg#2"]
    assert [sources.read(name).data for name in found] == photos


def test_the_column_of_images_is_the_first_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"], "one": [b"1"], "a.b": [b"2"]}), path)
    assert sources.read(*listed(path)[0]).data == b"1"
    assert sources.read(*listed(path, column="a.b")[0]).data == b"2"
    for column, what in (("text", "no column text of images"), ("no", "among text, one, a.b")):
        assert what in reason(*listed(path, column=column)[0])


def test_a_row_without_bytes_is_an_error_and_its_path_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTOS["0.jpg"])
    path = table_of(
        tmp_path / "t.parquet", [{"bytes": None, "path": str(tmp_path / "a.jpg")}, {"bytes": b"1", "path": ""}]
    )
    found, _ = listed(path)
    assert "there are no bytes in this row" in reason(found[0])
    assert "a file of 1 bytes; 0 are allowed" in reason(found[1], 0)


def test_a_damaged_page_is_an_error_of_its_rows(tmp_path: Path) -> None:
    path = table_of(tmp_path / "t.parquet", [os.urandom(1000) for _ in range(4)], row_group_size=2, compression="zstd")
    data = bytearray(path.read_bytes())
    data[100:1500] = bytes(1400)
    path.write_bytes(data)
    found, _ = listed(path)
    assert "the table is damaged here" in reason(found[0])
    assert len(sources.read(found[2]).data) == 1000


def test_rows_are_read_by_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "WINDOW", 100_000)
    path = table_of(tmp_path / "t.parquet", [os.urandom(50_000) for _ in range(400)], write_batch_size=16)
    found, _ = listed(path)
    before, most = pyarrow.total_allocated_bytes(), 0
    for name in found:
        assert len(sources.read(name).data) == 50_000
        most = max(most, pyarrow.total_allocated_bytes() - before)
    assert most < 5_000_000, "of 20,000,000 in the group"


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_many_threads_read_one_archive(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "WINDOW", 20_000)
    files = [(f"{i}.jpg", os.urandom(1000 + i)) for i in range(300)]
    match kind:
        case "tar":
            path = tar_of(tmp_path / "s.tar", files)
        case "zip":
            path = zip_of(tmp_path / "s.zip", files)
        case _:
            path = table_of(tmp_path / "s.parquet", [data for _, data in files], row_group_size=70)
    found, _ = listed(path)
    gate = threading.Barrier(8)

    def read(i: int) -> bytes:
        if i < 8:
            gate.wait()
        return sources.read(found[i]).data

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(300))) == [data for _, data in files]


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_an_archive_that_changes_meanwhile_is_an_error(kind: str, tmp_path: Path) -> None:
    make = {"tar": tar_of, "zip": zip_of}.get(kind)
    path = tmp_path / f"s.{kind}"
    make(path, [*PHOTOS.items()]) if make else table_of(path, [*PHOTOS.values()])
    found, _ = listed(path)
    os.utime(path, ns=(0, 0))
    assert "has changed since it was listed" in reason(found[0])
