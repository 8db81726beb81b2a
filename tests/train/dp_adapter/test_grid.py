"""Grids of pictures with labels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from train.dp_adapter.grid import labelled

COLORS = [["red", "lime", "blue"], ["yellow", "cyan", "magenta"]]


def test_pictures_stand_in_rows_and_columns_beside_the_references() -> None:
    pictures = [[Image.new("RGB", (16, 16), color) for color in row] for row in COLORS]
    references = {"perceptual: a.jpg": Image.new("RGB", (300, 100), "navy"), "semantic: b.jpg": None}
    sheet = np.asarray(labelled(pictures, ["p 0", "p 1"], ["s 0", "s 1", "s 2"], references))
    places = {}
    for color in ["navy", *(color for row in COLORS for color in row)]:
        ys, xs = np.nonzero((sheet == Image.new("RGB", (1, 1), color).getpixel((0, 0))).all(-1))
        places[color] = (ys.min(), xs.min(), ys.max() + 1 - ys.min(), xs.max() + 1 - xs.min())
    tops, lefts = ([[places[color][axis] for color in row] for row in COLORS] for axis in (0, 1))
    assert all(len({*row}) == 1 for row in tops)
    assert tops[1][0] - tops[0][0] > 128
    assert lefts[0] == lefts[1] == sorted(lefts[0])
    assert {places[color][2:] for row in COLORS for color in row} == {(128, 128)}  # enlarged, whole
    assert places["navy"][2:] == (43, 128)  # its shape is kept
    assert places["navy"][1] + 128 < lefts[0][0]


def test_every_label_is_there() -> None:
    pictures = [[Image.new("RGB", (128, 128), "red")]]
    plain = np.asarray(labelled(pictures, ["p 0"], ["s 0"], {"perceptual": None}))
    for changed in (("p 8", "s 0", "perceptual"), ("p 0", "s 8", "perceptual"), ("p 0", "s 0", "perceptuaI")):
        row, column, name = changed
        other = np.asarray(labelled(pictures, [row], [column], {name: None}))
        assert other.shape != plain.shape or not np.array_equal(other, plain)
