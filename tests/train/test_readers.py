"""Each published layout is read as it is published: images, scores, direction, splits."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from scipy.io import savemat

from declip_rt import ConfigError
from tests.conftest import encoded, picture
from train.readers import READERS, Dataset, read

IMAGE = encoded(picture(0, 8, 8), "PNG")


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(IMAGE)


def table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def sheet(path: Path, name: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.title = name
    for row in rows:
        book.active.append(row)
    book.save(path)


def cells(names: list[str], shape: tuple[int, int]) -> np.ndarray:
    made = np.empty(len(names), object)
    made[:] = [np.array([name]) for name in names]
    return made.reshape(shape)


def koniq10k(folder: Path) -> None:
    splits = ["training", "validation", "test"]
    table(
        folder / "koniq10k_distributions_sets.csv",
        [{"image_name": f"{i}.jpg", "c1": 0.1, "MOS": 20.0 * i, "SD": 0.4, "set": splits[i]} for i in range(3)],
    )
    for i in range(3):
        touch(folder / "512x384" / f"{i}.jpg")


def spaq(folder: Path) -> None:
    names = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]
    rows = [[f"{i:05}.jpg", 10.0 * i, 51.5, 52, 53, 54, 55] for i in range(10)]
    sheet(folder / "Annotations" / "MOS and Image attribute scores.xlsx", "Sheet1", [names, *rows])
    for i in range(10):
        touch(folder / "TestImage" / f"{i:05}.jpg")


def live_challenge(folder: Path) -> None:
    names = [f"t{i}.JPG" for i in range(1, 8)] + [f"{i}.bmp" for i in range(10)]
    (folder / "Data").mkdir(parents=True)
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells(names, (17, 1))})
    savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.arange(17.0)[None] * 5})
    for i in range(10):
        touch(folder / "Images" / f"{i}.bmp")


def kadid10k(folder: Path) -> None:
    names = [f"I{ref:02}_{kind:02}_{level:02}.png" for ref in range(1, 6) for kind in (1, 25) for level in (1, 5)]
    table(
        folder / "dmos.csv",
        [{"dist_img": n, "ref_img": f"{n[:3]}.png", "dmos": 1 + i / 5, "var": 0.3} for i, n in enumerate(names)],
    )
    for name in names:
        touch(folder / "images" / name)


def tid2013(folder: Path) -> None:
    names = [
        f"{'iI'[ref % 2]}{ref:02}_{kind:02}_{level}.bmp" for ref in range(1, 6) for kind in (1, 24) for level in (1, 5)
    ]
    for name in names:
        touch(folder / "distorted_images" / name.swapcase())
    (folder / "mos_with_names.txt").write_text("".join(f"{i / 4:.5f} {name}\n" for i, name in enumerate(names)))


def csiq(folder: Path) -> None:
    tokens = {"noise": "AWGN", "jpeg 2000": "jpeg2000", "contrast": "contrast"}
    rows: list[list[object]] = [["CSIQ"], ["", "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]]
    for reference in (1600, "boston", "bridge", "elk", "family"):
        for kind, token in tokens.items():
            rows.append(["", reference, 1, kind, 3, 0.05, 0.4])
            touch(folder / "dst_imgs" / token.lower() / f"{reference}.{token}.3.png")
    sheet(folder / "csiq.DMOS.xlsx", "all_by_image", [*rows, [None] * 7])


def live(folder: Path) -> None:
    kinds = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
    for kind, count in kinds.items():
        for number in range(1, count + 1):
            touch(folder / kind / f"img{number}.bmp")
    references = [f"ref{i % 29}.bmp" for i in range(982)]
    savemat(folder / "refnames_all.mat", {"refnames_all": cells(references, (1, 982))})
    orgs = np.zeros((1, 982))
    orgs[0, :203] = 1
    savemat(folder / "dmos.mat", {"dmos": np.linspace(0, 99, 982)[None], "orgs": orgs})


def agiqa3k(folder: Path) -> None:
    rows = [
        {"name": f"m{i}.jpg", "prompt": f"a cat {i // 2}", "mos_quality": 0.4 * i, "std_quality": 0.1, "mos_align": 2.5}
        for i in range(10)
    ]
    table(folder / "data.csv", rows)
    for row in rows:
        touch(folder / str(row["name"]))


def ava(folder: Path) -> None:
    lines = [f"{i} {100 + i} 0 0 0 0 5 5 0 0 0 0 1 22 1396" for i in range(1, 4)]
    touch(folder / "AVA.txt")
    (folder / "AVA.txt").write_text("\n".join(lines) + "\n")
    touch(folder / "aesthetics_image_lists" / "generic_test.jpgl")
    (folder / "aesthetics_image_lists" / "generic_test.jpgl").write_text("102\n")
    for i in range(1, 4):
        touch(folder / "images" / f"{100 + i}.jpg")


def aadb(folder: Path) -> None:
    for i, split in enumerate(("Train", "Validation", "TestNew")):
        touch(folder / "datasetImages_originalSize" / f"farm1_{i}.jpg")
        lists = folder / "imgListFiles_label"
        lists.mkdir(exist_ok=True)
        (lists / f"imgList{split}Regression_score.txt").write_text(f"farm1_{i}.jpg {0.2 + i / 4}\n")
        (lists / f"imgList{split}Regression_ColorHarmony.txt").write_text(f"farm1_{i}.jpg -0.4\n")


def para(folder: Path) -> None:
    names = ("aesthetic", "quality", "composition", "color", "dof", "light", "content")
    for i, split in enumerate(("Train", "Test")):
        scores = {f"{name}Score_mean": 3.5 for name in names}
        table(
            folder / "annotation" / f"PARA-Giaa{split}.csv",
            [{"sessionId": "session7", "imageName": f"iaa_{i}.jpg", "semantic": "animal", **scores}],
        )
        touch(folder / "imgs" / "session7" / f"iaa_{i}.jpg")


def tad66k(folder: Path) -> None:
    for i, split in enumerate(("train", "test")):
        table(folder / "labels" / "merge" / f"{split}.csv", [{"image": f"{i}.jpg", "score": 5.5}])
        touch(folder / "TAD66K" / f"{i}.jpg")


MAKERS: list[Callable[[Path], None]] = [
    koniq10k, spaq, live_challenge, kadid10k, tid2013, csiq, live, agiqa3k, ava, aadb, para, tad66k,
]  # fmt: skip
made = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def made_in(folder: Path, make: Callable[[Path], None]) -> Dataset:
    folder.mkdir(exist_ok=True)
    make(folder)
    return read(make.__name__, folder)


def test_all_readers_are_tested() -> None:
    assert {make.__name__ for make in MAKERS} == set(READERS)


@made
def test_a_published_layout(tmp_path: Path, make: Callable[[Path], None]) -> None:
    found = made_in(tmp_path / "set", make)
    assert all(0 <= found.unit(item) <= 1 for item in found.items)
    assert {"train", "test"} <= {item.split for item in found.items} <= {"train", "val", "test"}
    assert found.of("test")
    assert not {item.group for item in found.of("test")} & {item.group for item in found.of("train")} - {""}
    assert read(make.__name__, tmp_path / "set") == found, "the split never changes"


@made
def test_what_is_missing_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    with pytest.raises(ConfigError, match=f"is not {make.__name__} as published at"):
        read(make.__name__, tmp_path)
    found = made_in(tmp_path / "set", make)
    found.items[0].path.unlink()
    with pytest.raises(ConfigError, match=r"1 of the \d+ images of .* are missing, such as"):
        read(make.__name__, tmp_path / "set")


def test_an_unknown_set() -> None:
    with pytest.raises(ConfigError, match="no reader for 'koniq'; there are: koniq10k, spaq"):
        read("koniq", Path())


def test_details(tmp_path: Path) -> None:
    sets = {make.__name__: made_in(tmp_path / make.__name__, make) for make in MAKERS if make is not live}
    koniq = sets["koniq10k"].items
    assert [(item.path.name, item.score, item.split) for item in koniq] == [
        ("0.jpg", 0, "train"), ("1.jpg", 20, "val"), ("2.jpg", 40, "test"),
    ]  # fmt: skip
    assert sets["spaq"].items[3].attributes["noisiness"] == 54
    assert sets["live_challenge"].items[0].path.name == "0.bmp", "the raters' training images are left out"
    assert sets["live_challenge"].items[0].score == 35
    worst = sets["kadid10k"].items[3]
    assert (worst.group, worst.kind, worst.level) == ("I01.png", "25", 5)
    assert [item.path.name for item in sets["tid2013"].items[:2]] == ["i01_01_1.BMP", "i01_01_5.BMP"], "on any disk"
    noisy = sets["csiq"].items[0]
    assert (noisy.path.name, noisy.kind, noisy.level) == ("1600.AWGN.3.png", "noise", 3)
    assert sets["csiq"].unit(noisy) == pytest.approx(0.6), "DMOS: lower is better"
    assert len(sets["agiqa3k"].of("test")) == 2, "one prompt of five"
    assert [(item.score, item.split) for item in sets["ava"].items] == [(5.5, "train"), (5.5, "test"), (5.5, "train")]
    assert sets["aadb"].items[0].attributes == {"ColorHarmony": -0.4}
    assert sets["para"].items[0].attributes["dof"] == 3.5


def test_live_release_2(tmp_path: Path) -> None:
    found = made_in(tmp_path / "live", live)
    assert len(found.items) == 779, "the undistorted copies are left out"
    first = found.items[0]
    assert (first.path.parent.name, first.path.name, first.group) == ("jp2k", "img204.bmp", "ref0.bmp")
    assert not found.higher_is_better
