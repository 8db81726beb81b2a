"""Published quality datasets, read as they are unzipped: `read(name, folder)`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from declip_rt.errors import ConfigError
from train.photos import SPLIT_SEED, TEST


@dataclass(frozen=True)
class Item:
    """One rated image."""

    path: Path
    score: float  # in the set's own units
    split: str = ""  # train, val or test
    group: str = ""  # the reference image or the prompt that no two splits may share
    kind: str = ""  # of distortion, by the set's own name
    level: int = 0
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A set of rated images: `low` and `high` end its scale, on which higher is better or, for DMOS, worse."""

    name: str
    items: tuple[Item, ...]
    low: float
    high: float
    higher_is_better: bool
    what: Literal["technical", "aesthetic"]
    nature: Literal["authentic", "synthetic", "generated"]

    def of(self, split: str) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.split == split)

    def unit(self, item: Item) -> float:
        """The score in [0, 1], higher is better."""
        share = (item.score - self.low) / (self.high - self.low)
        return share if self.higher_is_better else 1 - share


@dataclass(frozen=True)
class _Reader:
    items: Callable[[Path], Iterator[Item]]
    low: float
    high: float
    higher_is_better: bool
    what: Literal["technical", "aesthetic"]
    nature: Literal["authentic", "synthetic", "generated"]
    source: str


def read(name: str, folder: Path) -> Dataset:
    """Reads the set `name` in `folder`, with its published split.

    Where none is published, a fifth of the images are for testing: by reference image or prompt, where there are such,
    and by a seed that never changes.

    Raises:
        ConfigError: no such set, files that are missing or not as published, images that are not there.
    """
    if name not in READERS:
        raise ConfigError(f"no reader for {name!r}; there are: {', '.join(READERS)}")
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name the one that holds {name}, see train/README.md")
    reader = READERS[name]
    try:
        items = list(reader.items(folder))
    except (OSError, KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
        what = error if isinstance(error, OSError) else f"{type(error).__name__} {error}"
        raise ConfigError(f"{folder} is not {name} as published at {reader.source}: {what}") from error
    if lost := [item.path for item in items if not item.path.is_file()]:
        raise ConfigError(f"{len(lost)} of the {len(items)} images of {name} are missing, such as {lost[0]}")
    if not items:
        raise ConfigError(f"{folder} has no rated images of {name}")
    split = tuple(items) if all(item.split for item in items) else tuple(_split(items))
    return Dataset(name, split, reader.low, reader.high, reader.higher_is_better, reader.what, reader.nature)


def _split(items: list[Item]) -> Iterator[Item]:
    """With a fifth of the groups, or of the images that have none, for testing."""
    groups = sorted({item.group or item.path.name for item in items})
    order = np.random.default_rng(SPLIT_SEED).permutation(len(groups))
    test = {groups[i] for i in order[: round(TEST * len(groups))]}
    for item in items:
        yield replace(item, split="test" if (item.group or item.path.name) in test else "train")


def _koniq10k(folder: Path) -> Iterator[Item]:
    images = next(path for path in (folder / "1024x768", folder / "512x384") if path.is_dir())
    splits = {"training": "train", "validation": "val", "test": "test"}
    for row in _csv(folder / "koniq10k_distributions_sets.csv"):
        yield Item(images / row["image_name"], float(row["MOS"]), splits[row["set"]])


def _spaq(folder: Path) -> Iterator[Item]:
    names = ("Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness")
    for row in _xlsx(folder / "Annotations" / "MOS and Image attribute scores.xlsx", "MOS"):
        attributes = {name.lower(): float(row[name]) for name in names}
        yield Item(folder / "TestImage" / row["Image name"], float(row["MOS"]), attributes=attributes)


def _live_challenge(folder: Path) -> Iterator[Item]:
    names = _mat(folder / "Data" / "AllImages_release.mat", "AllImages_release")
    scores = _mat(folder / "Data" / "AllMOS_release.mat", "AllMOS_release")
    for name, score in list(zip(names, scores, strict=True))[7:]:  # the first seven trained the raters
        yield Item(folder / "Images" / str(name[0]), float(score))


def _kadid10k(folder: Path) -> Iterator[Item]:
    for row in _csv(folder / "dmos.csv"):  # which is a MOS, whatever its name
        _, kind, level = Path(row["dist_img"]).stem.split("_")
        path = folder / "images" / row["dist_img"]
        yield Item(path, float(row["dmos"]), group=row["ref_img"], kind=kind, level=int(level))


def _tid2013(folder: Path) -> Iterator[Item]:
    there = {path.name.lower(): path for path in (folder / "distorted_images").iterdir()}
    for line in (folder / "mos_with_names.txt").read_text().splitlines():
        score, name = line.split()
        group, kind, level = Path(name.lower()).stem.split("_")
        path = there.get(name.lower(), folder / "distorted_images" / name)
        yield Item(path, float(score), group=group, kind=kind, level=int(level))


def _csiq(folder: Path) -> Iterator[Item]:
    tokens = {"noise": "AWGN", "blur": "BLUR", "jpeg": "JPEG", "jpeg 2000": "jpeg2000"}
    for row in _xlsx(folder / "csiq.DMOS.xlsx", "dmos", "all_by_image"):
        kind, level = row["dst_type"], int(row["dst_lev"])
        token = tokens.get(kind, kind)
        path = folder / "dst_imgs" / token.lower() / f"{row['image']}.{token}.{level}.png"
        yield Item(path, float(row["dmos"]), group=str(row["image"]), kind=kind, level=level)


def _live(folder: Path) -> Iterator[Item]:
    kinds = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
    places = [(kind, number) for kind, count in kinds.items() for number in range(1, count + 1)]
    references = _mat(folder / "refnames_all.mat", "refnames_all")
    scores, originals = (_mat(folder / "dmos.mat", name) for name in ("dmos", "orgs"))
    for (kind, number), reference, score, original in zip(places, references, scores, originals, strict=True):
        if not original:
            path = folder / kind / f"img{number}.bmp"
            yield Item(path, float(score), group=str(reference[0]), kind=kind)


def _agiqa3k(folder: Path) -> Iterator[Item]:
    images = folder / "images" if (folder / "images").is_dir() else folder
    for row in _csv(folder / "data.csv"):
        alignment = {"alignment": float(row["mos_align"])}
        yield Item(images / row["name"], float(row["mos_quality"]), group=row["prompt"], attributes=alignment)


def _ava(folder: Path) -> Iterator[Item]:
    listed = folder / "aesthetics_image_lists" / "generic_test.jpgl"
    test = set(listed.read_text().split()) if listed.is_file() else None
    for line in (folder / "AVA.txt").read_text().splitlines():
        _, name, *numbers = line.split()
        counts = np.array(numbers[:10], float)
        split = "" if test is None else ("test" if name in test else "train")
        yield Item(folder / "images" / f"{name}.jpg", float(counts @ np.arange(1, 11) / counts.sum()), split)


def _aadb(folder: Path) -> Iterator[Item]:
    for file, split in (("Train", "train"), ("Validation", "val"), ("TestNew", "test")):
        lists = folder / "imgListFiles_label"
        prefix = f"imgList{file}Regression_"
        scores = _pairs(lists / f"{prefix}score.txt")
        attributes = {
            path.stem.removeprefix(prefix): _pairs(path)
            for path in sorted(lists.glob(f"{prefix}*.txt"))
            if path.stem != f"{prefix}score"
        }
        for name, score in scores.items():
            own = {attribute: values[name] for attribute, values in attributes.items()}
            yield Item(folder / "datasetImages_originalSize" / name, score, split, attributes=own)


def _para(folder: Path) -> Iterator[Item]:
    names = ("quality", "composition", "color", "dof", "light", "content")
    for file, split in (("Train", "train"), ("Test", "test")):
        for row in _csv(folder / "annotation" / f"PARA-Giaa{file}.csv"):
            attributes = {name: float(row[f"{name}Score_mean"]) for name in names}
            path = folder / "imgs" / row["sessionId"] / row["imageName"]
            yield Item(path, float(row["aestheticScore_mean"]), split, attributes=attributes)


def _tad66k(folder: Path) -> Iterator[Item]:
    for split in ("train", "test"):
        for row in _csv(folder / "labels" / "merge" / f"{split}.csv"):
            yield Item(folder / "TAD66K" / row["image"], float(row["score"]), split)


READERS: dict[str, _Reader] = {
    "koniq10k": _Reader(_koniq10k, 0, 100, True, "technical", "authentic", "database.mmsp-kn.de"),
    "spaq": _Reader(_spaq, 0, 100, True, "technical", "authentic", "github.com/h4nwei/SPAQ"),
    "live_challenge": _Reader(_live_challenge, 0, 100, True, "technical", "authentic", "live.ece.utexas.edu"),
    "kadid10k": _Reader(_kadid10k, 1, 5, True, "technical", "synthetic", "database.mmsp-kn.de"),
    "tid2013": _Reader(_tid2013, 0, 9, True, "technical", "synthetic", "ponomarenko.info/tid2013.htm"),
    "csiq": _Reader(_csiq, 0, 1, False, "technical", "synthetic", "s2.smu.edu/~eclarson/csiq.html"),
    "live": _Reader(_live, 0, 100, False, "technical", "synthetic", "live.ece.utexas.edu"),
    "agiqa3k": _Reader(_agiqa3k, 0, 5, True, "technical", "generated", "github.com/lcysyzxdxc/AGIQA-3k-Database"),
    "ava": _Reader(_ava, 1, 10, True, "aesthetic", "authentic", "github.com/imfing/ava_downloader"),
    "aadb": _Reader(_aadb, 0, 1, True, "aesthetic", "authentic", "github.com/aimerykong/deepImageAestheticsAnalysis"),
    "para": _Reader(_para, 1, 5, True, "aesthetic", "authentic", "cv-datasets.institutecv.com"),
    "tad66k": _Reader(_tad66k, 0, 10, True, "aesthetic", "authentic", "github.com/woshidandan/TANet"),
}


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _pairs(path: Path) -> dict[str, float]:
    """Lines of a name and a number."""
    return {name: float(value) for name, value in (line.split() for line in path.read_text().splitlines() if line)}


def _mat(path: Path, name: str) -> Iterable[Any]:
    from scipy.io import loadmat

    return loadmat(path)[name].ravel()


def _xlsx(path: Path, column: str, sheet: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows under the first row that names `column`."""
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True)
    rows = (book[sheet] if sheet else book.worksheets[0]).iter_rows(values_only=True)
    names = next(row for row in rows if column in row)
    for row in rows:
        found = dict(zip(names, row, strict=True))
        if found[column] is not None:
            yield found
