"""What users name becomes the files they mean: in order, once each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declip_rt import ConfigError, ImageError
from declip_rt.images.lists import read_list, split_paths
from declip_rt.images.sources import AGAIN, Skipped, expand, read

names = st.text(st.characters(exclude_characters="\0\n\r/", exclude_categories=("Cs",)), min_size=1, max_size=20)


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def test_a_folder_gives_its_images_sorted_and_recursively(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "notes.txt", "film.mpg", "sub/c.webp", "sub/deep/d.tiff")
    found = [os.path.relpath(path, tmp_path) for path in expand([str(tmp_path)])]
    assert found == ["a.png", "b.JPG", "sub/c.webp", "sub/deep/d.tiff"]


def test_a_folder_of_many_files_is_sorted_a_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("declip_rt.images.sources.RUN_LENGTH", 3)
    touch(tmp_path, *(f"{i}.jpg" for i in range(8)))
    found = [Path(path).name for path in expand([str(tmp_path)])]
    assert sorted(found) == [f"{i}.jpg" for i in range(8)]
    for run in (found[:3], found[3:6], found[6:]):
        assert run == sorted(run)


def test_a_folder_of_many_files_is_not_listed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{i}.jpg" for i in range(50)))
    read: list[str] = []
    scan = os.scandir

    def counted(folder: str) -> Iterator[os.DirEntry[str]]:
        for entry in scan(folder):
            read.append(entry.name)
            yield entry

    monkeypatch.setattr("declip_rt.images.sources.RUN_LENGTH", 10)
    monkeypatch.setattr("os.scandir", counted)
    next(iter(expand([str(tmp_path)])))
    assert len(read) == 10


def test_a_file_is_found_once_through_links_to_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "outer").symlink_to(tmp_path)
    assert [Path(path).name for path in expand([f"{tmp_path}/outer", str(tmp_path), f"{tmp_path}/again"])] == ["a.jpg"]


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "photo.dat")
    assert list(expand([str(tmp_path / "photo.dat")])) == [str(tmp_path / "photo.dat")]


def test_the_order_of_arguments_is_kept_and_duplicates_go(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    b, whole = str(tmp_path / "b.jpg"), str(tmp_path)
    assert list(expand([b, whole, b, str(tmp_path / "." / "b.jpg")])) == [b, str(tmp_path / "a.jpg")]


def test_symlink_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "sub" / "self").symlink_to(tmp_path / "sub" / "self")
    assert [Path(path).name for path in expand([str(tmp_path)])] == ["a.jpg"]


def test_globs(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.png", "x/y/c.jpg", "odd[1].jpg")
    assert [Path(p).name for p in expand([f"{tmp_path}/*.jpg"])] == ["a.jpg", "odd[1].jpg"]
    assert [Path(p).name for p in expand([f"{tmp_path}/**/c.jpg"])] == ["c.jpg"]
    assert [Path(p).name for p in expand([f"{tmp_path}/odd[1].jpg"])] == ["odd[1].jpg"]


def test_what_is_missing_is_kept_so_that_it_fails_visibly(tmp_path: Path) -> None:
    assert list(expand(["nowhere.jpg", "no*where.jpg"])) == ["nowhere.jpg", "no*where.jpg"]
    with pytest.raises(ImageError, match="No such file"):
        read("nowhere.jpg")


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(raw, "wb") as file:
        file.write(b"x")
    (found,) = expand([str(tmp_path)])
    assert os.fsencode(found) == raw
    assert read(found).data == b"x"


def test_read_tells_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"12345")
    os.utime(file, ns=(5, 1_000_000_007))
    assert (read(file).size, read(file).mtime_ns) == (5, 1_000_000_007)


def test_folders_pipes_and_odd_paths_are_image_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path, tmp_path / "pipe.jpg", "/dev/null", "a\0b"):
        with pytest.raises(ImageError):
            read(path)


def test_a_file_without_permission_is_an_image_error(unprivileged: Path) -> None:
    (unprivileged / "a.jpg").touch(mode=0o000)
    with pytest.raises(ImageError, match="Permission denied"):
        read(unprivileged / "a.jpg")


def test_a_folder_without_permission_fails_visibly(unprivileged: Path) -> None:
    (unprivileged / "closed").mkdir(mode=0o000)
    assert list(expand([str(unprivileged)])) == [str(unprivileged / "closed")]


@given(st.lists(names.filter(str.strip), max_size=8))
def test_lists_separate_by_newline_or_nul(paths: list[str]) -> None:
    assert split_paths("\n".join(paths)) == paths
    assert split_paths("".join(path + "\0" for path in paths)) == paths


def test_windows_line_ends_and_blank_lines() -> None:
    assert split_paths("a.jpg\r\n\r\n\nb c.jpg\n") == ["a.jpg", "b c.jpg"]


def test_text_list_starts_at_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n/abs/b.jpg\n")
    assert read_list(str(tmp_path / "list.txt")) == [str(tmp_path / "a.jpg"), "/abs/b.jpg"]


def test_csv_list_finds_its_column(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text('\ufeffmos,image\n3,"a, b.jpg"\n4,c.jpg\n')
    assert read_list(str(tmp_path / "scores.csv")) == [str(tmp_path / "a, b.jpg"), str(tmp_path / "c.jpg")]


def test_a_list_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mos\n3\n")
    with pytest.raises(ConfigError, match="none of the columns path, image"):
        read_list(str(tmp_path / "x.csv"))
    with pytest.raises(ConfigError, match="No such file"):
        read_list(str(tmp_path / "nowhere.txt"))


@given(st.sets(names.map(lambda name: f"{name}.png"), max_size=6))
def test_any_file_name_is_found_once(tmp_path_factory: pytest.TempPathFactory, files: set[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    files = {name for name in files if len(os.fsencode(name)) < 250}
    for name in files:
        (folder / name).touch()
    assert [os.path.basename(path) for path in expand([str(folder)])] == sorted(f for f in files if f[0] != ".")


def test_hidden_files_and_thumbnails_are_left_out_and_counted(tmp_path: Path) -> None:
    kept = ("a.jpg", "sub/b.jpg")
    left = (
        "._a.jpg",
        ".thumbnails/t.png",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
        "doc/x.pdf",
        "y.JXL",
        "z.jxl",
        "README",
        "scores.csv.lock",
    )
    touch(tmp_path, *kept, *left)
    (tmp_path / "again.jpg").hardlink_to(tmp_path / "a.jpg")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    skipped = Skipped()
    found = [os.path.relpath(path, tmp_path) for path in expand([str(tmp_path)], ["again*"], skipped)]
    assert found == list(kept)
    assert skipped == {"hidden": 3, "by --exclude": 1, ".pdf": 1, ".jxl": 2, "without a suffix": 1, AGAIN: 1}
    assert str(skipped).startswith("9 skipped: 3 hidden, 2 .jxl, 1 ")
    assert [Path(path).name for path in expand([str(tmp_path / ".thumbnails"), str(tmp_path / "._a.jpg")])] == [
        "t.png",
        "._a.jpg",
    ], "what is named is taken"
    assert list(expand([str(tmp_path)], ["*/sub", "a*", "link.jpg"])) == []


def test_a_tree_deeper_than_the_stack_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    Path("deep.jpg").touch()
    monkeypatch.chdir(tmp_path)
    try:
        assert [os.path.basename(path) for path in expand(["d"])] == ["deep.jpg"]
    finally:
        subprocess.run(["rm", "-r", "d"], check=True)  # shutil.rmtree does not go as deep


def test_an_address_is_no_file() -> None:
    for address in ("https://example.org/a.jpg", "s3://bucket/a.jpg", "file:///a.jpg"):
        with pytest.raises(ImageError, match="fetch it first"):
            read(address)
