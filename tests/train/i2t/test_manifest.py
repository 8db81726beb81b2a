"""A manifest keeps its rows through both formats; its check names every bad row and why it is bad."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from declip_rt.errors import ConfigError, ImageError
from tests.conftest import encoded, picture
from train.distortions import Distortion, distort
from train.i2t.manifest import Images, Row, faults, main, read, write

ROW = Row(
    "a.png",
    perceptual=("a very dark photo", "this picture looks murky"),
    semantic=("a photo of a cat",),
    provenance="test",
    scores={"mos": 61.5},
    attributes={"kind": "dark", "brightness": 12.5},
    shrink=2,
    edits=(Distortion("dark", 2.5), Distortion("noise", 1.0)),
    seed=7,
)
GOOD = '{"image":"a.png","perceptual":["a dark photo"]}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(encoded(picture(), "PNG"))
    return tmp_path


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_survive(folder: Path, suffix: str) -> None:
    rows = [ROW, Row("b.png")]
    write(folder / f"m{suffix}", rows)
    assert read(folder / f"m{suffix}") == rows


def test_edits_are_applied_in_order(folder: Path) -> None:
    rng = np.random.default_rng(ROW.seed)
    expected = np.asarray(Image.fromarray(picture()).reduce(2))
    for edit in ROW.edits:
        expected = distort(expected, edit, rng)
    assert np.array_equal(Images(folder).open(ROW), expected)


def test_a_photo_is_shrunk_by_means(folder: Path) -> None:
    shrunk = Images(folder).open(Row("a.png", shrink=2))
    assert shrunk.shape == (picture().shape[0] // 2, picture().shape[1] // 2, 3)
    assert shrunk[3, 5] == pytest.approx(picture()[6:8, 10:12].mean((0, 1)), abs=0.6)
    write(folder / "m.jsonl", [Row("a.png"), Row("a.png", shrink=2)])
    assert [b"shrink" in line for line in (folder / "m.jsonl").read_bytes().splitlines()] == [False, True]


def test_an_image_in_a_shard(folder: Path) -> None:
    with tarfile.open(folder / "s.tar", "w") as tar:
        tar.add(folder / "a.png", "000/a.png")
    assert np.array_equal(Images(folder).open(Row("s.tar#000/a.png")), picture())
    with pytest.raises(ImageError, match=r"s.tar has no member 'b.png'"):
        Images(folder).open(Row("s.tar#b.png"))
    with pytest.raises(ImageError, match=r"cannot read none\.tar#a"):
        Images(folder).open(Row("none.tar#a"))


def test_reading_names_the_row(folder: Path) -> None:
    (folder / "m.jsonl").write_text(f'{GOOD}\n{{"image":"a.png","colour":1}}\n')
    with pytest.raises(ConfigError, match=r"m.jsonl, row 2: .*colour"):
        read(folder / "m.jsonl")
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        read(folder / "none.jsonl")
    with pytest.raises(ConfigError, match="cannot write the manifest"):
        write(folder / "none" / "m.jsonl", [ROW])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "truncated"),
        ('{"image":"a.png","perceptual":"dark"}', "array"),
        ('{"image":"a.png"}', "no perceptual text"),
        ('{"image":"\udcff"}', "can't decode byte 0xff"),
        ('{"image":"b.png","perceptual":["x"]}', "cannot read b.png"),
        ('{"image":"c.png","perceptual":["x"]}', "not an image"),
        ('{"image":"a.png","perceptual":[" "]}', "a text is empty"),
        ('{"image":"a.png","perceptual":["x"],"semantic":["%s"]}' % ("very " * 76), "context holds 77 tokens"),
        ('{"image":"a.png","perceptual":["x"],"scores":{"mos":1e999}}', "out of range"),
        ('{"image":"a.png","perceptual":["x"],"scores":{"mos":NaN}}', "invalid"),
        ('{"image":"a\\u0000.png","perceptual":["x"]}', "cannot read a"),
        ('{"image":"a.png","perceptual":["x"],"edits":[{"kind":"ugly","strength":1}]}', "no distortion 'ugly'"),
        ('{"image":"a.png","perceptual":["x"],"edits":[{"kind":"blur","strength":9}]}', "strength 9"),
        ('{"image":"a.png","perceptual":["x"],"shrink":0}', "must be at least 1"),
        ('{"perceptual": ["a dark photo"], "image": "a.png"}', "the same as row 1"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_hides_no_other(folder: Path, row: str, why: str) -> None:
    (folder / "c.png").write_text("hello")
    lines = f'{GOOD}\n{row}\n{{"image":"a.png","perceptual":[""]}}\n'
    (folder / "m.jsonl").write_bytes(lines.encode(errors="surrogateescape"))
    found = list(faults(folder / "m.jsonl", "ViT-B-32"))
    assert [number for number, _ in found if number != 2] == [3]
    assert any(why in reason for number, reason in found if number == 2)


def test_a_parquet_table_of_others(folder: Path) -> None:
    nested = {"image": "a.png", "perceptual": ["x"], "scores": {"mos": 3.5}, "edits": [{"kind": "blur", "strength": 2}]}
    bad = nested | {"scores": {"mos": float("nan")}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([nested, bad]), folder / "m.parquet")
    assert [number for number, _ in faults(folder / "m.parquet", "ViT-B-32")] == [2]
    as_json = [nested | {"scores": cell, "edits": "[]"} for cell in ("{", '{"mos":3.5}')]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(as_json), folder / "m.parquet")
    assert [number for number, _ in faults(folder / "m.parquet", "ViT-B-32")] == [1]


def test_a_context_of_ones_own(folder: Path) -> None:
    write(folder / "m.jsonl", [Row("a.png", ("a dark photo",)), Row("a.png", ("a very dark photo",))])
    assert [number for number, _ in faults(folder / "m.jsonl", "ViT-B-32", 5)] == [2]
    with pytest.raises(ConfigError, match="no model 'VIT-B-32'"):
        list(faults(folder / "m.jsonl", "VIT-B-32"))


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(text: str) -> int:
        (folder / "m.jsonl").write_text(text)
        monkeypatch.setattr("sys.argv", ["manifest", str(folder / "m.jsonl")])
        return main()

    assert check(f"{GOOD}\n") == 0
    assert "1 rows, 0 with faults" in capsys.readouterr().out
    assert check(f'{GOOD}\n{{"image":"a.png"}}\n') == 1
    assert capsys.readouterr().out.splitlines() == ["row 2: there is no perceptual text", "2 rows, 1 with faults"]
    assert check("") == 1
    (folder / "m.jsonl").unlink()
    assert main() == 2
    assert "cannot read the manifest" in capsys.readouterr().err
