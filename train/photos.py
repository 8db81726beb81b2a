"""The photos and labels of a data folder, and how they are split.

Layout: `pristine/captions.csv` (image, source, label, credit), `live_challenge/scores.csv` (image, mos, std),
`oasis_beauty/scores.csv` (image, beauty, beauty_sd, category, label); images by paths relative to the CSV's folder.
"""

from __future__ import annotations

import csv
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


SETS = {  # name: CSV, column of the label, column of the score
    "pristine": ("pristine/captions.csv", "label", None),
    "mos": ("live_challenge/scores.csv", None, "mos"),
    "beauty": ("oasis_beauty/scores.csv", "label", "beauty"),
}


def photos(data: Path, name: str, split: str) -> list[Photo]:
    """The photos of one set and split, in the order of their file names.

    The split depends on the file names and SPLIT_SEED alone: 20 % test, 10 % val, the rest train.
    """
    table, label, score = SETS[name]
    if not (data / table).is_file():
        raise ConfigError(f"no {table} in {data}; see train/README.md for the layout that --data must have")
    with (data / table).open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image"])
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    test, val = round(TEST * len(rows)), round(VAL * len(rows))
    ranges = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
    folder = (data / table).parent
    return [
        Photo(
            folder / rows[i]["image"],
            rows[i][label].replace("_", " ") if label else "",
            float(rows[i][score]) if score else float("nan"),
            rows[i].get("category", ""),
        )
        for i in sorted(ranges[split])
    ]
