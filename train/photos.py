"""The photos and labels of a data folder, and how they are split.

Layout: `pristine/captions.csv` (image, source, label, credit), `live_challenge/scores.csv` (image, mos, std),
`oasis_beauty/scores.csv` (image, beauty, beauty_sd, category, label); images by paths relative to the CSV's folder.
`coco256/labels.csv` (image, labels such as "cupx2;dog") may be left out; its images are in `coco256/images`.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from declip_rt.errors import ConfigError
from train.distortions import RGB

SPLITS = ("train", "val", "test")
SPLIT_SEED = 2503_02206  # never changes: what was held out once stays held out
TEST, VAL = 0.2, 0.1


@dataclass(frozen=True)
class Photo:
    path: Path
    label: str = ""  # what it shows
    score: float = float("nan")  # MOS or beauty, in the set's own units
    category: str = ""

    def read(self, max_short_side: int | None = None) -> RGB:
        """RGB uint8 (H, W, 3), shrunk to `max_short_side` where it is larger."""
        with Image.open(self.path) as image:
            rgb = image.convert("RGB")
        if max_short_side and min(rgb.size) > max_short_side:
            ratio = max_short_side / min(rgb.size)
            rgb = rgb.resize((round(rgb.width * ratio), round(rgb.height * ratio)), Image.Resampling.BICUBIC)
        return np.asarray(rgb)


@dataclass(frozen=True)
class Table:
    """A set's CSV in the data folder, and its columns."""

    path: str
    title: str  # the set's usual name
    label: str = ""
    score: str = ""
    images: str = ""  # the images' folder, from the table's on
    optional: bool = False


SETS = {
    "pristine": Table("pristine/captions.csv", "ImageNet, NIPS 2017, BSDS500 and Kodak", label="label"),
    "mos": Table("live_challenge/scores.csv", "LIVE In the Wild", score="mos"),
    "beauty": Table("oasis_beauty/scores.csv", "OASIS", label="label", score="beauty"),
    "coco": Table("coco256/labels.csv", "COCO", label="labels", images="images", optional=True),
}


def photos(data: Path, name: str, split: str) -> list[Photo]:
    """The photos of one set and split, in the order of their file names; none of an optional set that is not there.

    The split depends on the file names and SPLIT_SEED alone: 20 % test, 10 % val, the rest train.
    """
    table = SETS[name]
    path = data / table.path
    if not path.is_file():
        if table.optional:
            return []
        raise ConfigError(f"no {table.path} in {data}; see train/README.md for the layout that --data must have")
    with path.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image"])
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    test, val = round(TEST * len(rows)), round(VAL * len(rows))
    ranges = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
    return [
        Photo(
            path.parent / table.images / rows[i]["image"],
            _shown(rows[i][table.label]) if table.label else "",
            float(rows[i][table.score]) if table.score else float("nan"),
            rows[i].get("category", ""),
        )
        for i in sorted(ranges[split])
    ]


def _shown(label: str) -> str:
    """The label as words: "cell_phonex2;dog" as "cell phone, dog"."""
    return ", ".join(re.sub(r"x\d+$", "", one) for one in label.replace("_", " ").split(";"))
