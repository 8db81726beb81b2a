"""A picture of pictures: what two scales do, with the references beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, INK, PAPER, FRAME = 8, "black", "white", "lightgrey"
FONT_SHARE = 14  # a letter's height is the cell's over this
LEAST_CELL = 128  # pixels a side: smaller pictures are enlarged, so that labels can be read


def labelled(
    pictures: Sequence[Sequence[Image.Image]],
    rows: Sequence[str],
    columns: Sequence[str],
    references: Mapping[str, Image.Image | None],
) -> Image.Image:
    """Rows of pictures under labels; the references, each under its name, stand one below the other on the left.

    A reference without a picture is an empty frame.
    """
    cell = max(LEAST_CELL, *pictures[0][0].size)
    size = max(11, cell // FONT_SHARE)
    font, line, step = ImageFont.load_default(size), size + GAP, cell + GAP
    left = max([cell, *(int(font.getlength(name)) for name in references)]) + 2 * GAP if references else GAP
    labels = max(int(font.getlength(label)) for label in rows) + GAP
    width = left + labels + step * len(columns) + GAP
    height = max(GAP + line + step * len(rows), GAP + (line + step) * len(references))
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(references.items()):
        top = GAP + number * (line + step)
        draw.text((GAP, top), name, INK, font)
        draw.rectangle((GAP, top + line, GAP + cell - 1, top + line + cell - 1), outline=FRAME)
        if picture is not None:
            sheet.paste(_fitted(picture, cell), (GAP, top + line))
    for column, label in enumerate(columns):
        draw.text((left + labels + column * step, GAP), label, INK, font)
    for row, label in enumerate(rows):
        top = GAP + line + row * step
        draw.text((left, top + cell // 2), label, INK, font, anchor="lm")
        for column, picture in enumerate(pictures[row]):
            sheet.paste(_fitted(picture, cell), (left + labels + column * step, top))
    return sheet


def _fitted(picture: Image.Image, cell: int) -> Image.Image:
    """The picture on a square of `cell` pixels; small ones are enlarged without smoothing."""
    share = cell / max(picture.size)
    size = tuple(max(1, round(side * share)) for side in picture.size)
    smooth = Image.Resampling.LANCZOS if share < 1 else Image.Resampling.NEAREST
    square = Image.new("RGB", (cell, cell), FRAME)
    square.paste(picture.convert("RGB").resize(size, smooth), ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return square
