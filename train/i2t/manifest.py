"""The manifest: a JSONL or Parquet file with a row for each image and its texts.

`python -m train.i2t.manifest MANIFEST` checks one, and names every row that training could not use.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import msgspec
import numpy as np
import open_clip
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from PIL import Image

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, DeclipError, ImageError
from declip_rt.images.decode import decode
from train.distortions import KINDS, RGB, STRENGTHS, Distortion, distort


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One image, or a variant of one."""

    image: str  # a path from the manifest's folder on, or "shard.tar#member" of a webdataset shard
    perceptual: tuple[str, ...] = ()
    semantic: tuple[str, ...] = ()
    provenance: str = ""  # which builder wrote the texts, from what
    scores: dict[str, float] = {}  # such as {"mos": 61.2}
    attributes: dict[str, float | str] = {}  # such as {"kind": "blur"}
    shrink: int = 1  # the photo is first shrunk by this factor; 2 makes a JPEG as good as lossless
    edits: tuple[Distortion, ...] = ()  # applied when the image is read: variants take no room on the disk
    seed: int = 0  # of the edits

    def __post_init__(self) -> None:
        if self.shrink < 1:
            raise ValueError(f"`shrink` is {self.shrink}; it must be at least 1")
        for edit in self.edits:
            if edit.kind not in KINDS:
                raise ValueError(f"there is no distortion {edit.kind!r}; there are: {', '.join(KINDS)}")
            if not 0 < edit.strength <= STRENGTHS[-1]:
                raise ValueError(f"{edit.kind} has the strength {edit.strength}, not one in (0, {STRENGTHS[-1]:.0f}]")


def read(path: Path) -> list[Row]:
    """All rows. Raises ConfigError, which names the first row that is none."""
    return [_row(raw, f"{path}, row {number}") for number, raw in enumerate(_raw(path), 1)]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Writes JSONL, or Parquet where the suffix says so. Raises ConfigError."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"cannot write the manifest {path}: its suffix must be .jsonl or .parquet")
    save = _write_parquet if path.suffix == ".parquet" else _write_lines
    try:
        write_whole(path, partial(save, rows))
    except OSError as error:
        raise ConfigError(f"cannot write the manifest {path}: {error}") from error


def _write_lines(rows: Iterable[Row], path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)


def _write_parquet(rows: Iterable[Row], path: Path) -> None:
    arrow, parquet = _parquet()
    plain = [msgspec.structs.asdict(row) for row in rows]
    columns = {name: [row[name] for row in plain] for name in PLAIN}
    columns |= {name: [msgspec.json.encode(row[name]).decode() for row in plain] for name in NESTED}
    parquet.write_table(arrow.table(columns), path)


class Images:
    """Opens the images of a manifest's rows, from `folder` on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, row: Row) -> RGB:
        """RGB uint8 (H, W, 3), shrunk by means over squares, then with the row's edits. Raises ImageError."""
        rgb = decode(self._bytes(row.image))
        if row.shrink > 1:
            rgb = np.asarray(Image.fromarray(rgb).reduce(row.shrink))
        return edited(rgb, row.edits, row.seed)

    def _bytes(self, image: str) -> bytes:
        shard, inside, member = image.partition("#")
        try:
            if not inside:
                return (self.folder / image).read_bytes()
            offset, size = _members(self.folder / shard)[member]
            with (self.folder / shard).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except KeyError:
            raise ImageError(f"{shard} has no member {member!r}") from None
        except (OSError, ValueError, tarfile.TarError) as error:  # ValueError: a NUL in the name
            raise ImageError(f"cannot read {image}: {error}") from error


def edited(rgb: RGB, edits: tuple[Distortion, ...], seed: int) -> RGB:
    """The photo with a row's edits, one after another."""
    rng = np.random.default_rng(seed)
    for edit in edits:
        rgb = distort(rgb, edit, rng)
    return rgb


PLAIN = ("image", "perceptual", "semantic", "provenance", "shrink", "seed")  # Parquet's columns
NESTED = ("scores", "attributes", "edits")  # as JSON, for their keys differ from row to row
Tokenizer = HFTokenizer | SimpleTokenizer


@cache
def _members(shard: Path) -> dict[str, tuple[int, int]]:
    """Where each member's bytes lie: name to (offset, size)."""
    with tarfile.open(shard, "r:") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}


def _raw(path: Path) -> Iterator[bytes]:
    """Each row as JSON."""
    try:
        if path.suffix == ".parquet":
            _, parquet = _parquet()
            for row in parquet.read_table(path).to_pylist():
                nested = {name: msgspec.Raw(row[name].encode()) for name in NESTED if isinstance(row.get(name), str)}
                yield msgspec.json.encode(row | nested)
        else:
            with path.open("rb") as file:
                yield from (line for line in file if line.strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the manifest {path}: {error}") from error


def _row(raw: bytes, where: str) -> Row:
    try:
        return msgspec.json.decode(raw, type=Row)
    except ValueError as error:  # msgspec's DecodeError is one, and what is no UTF-8 raises another
        raise ConfigError(f"{where}: {error}") from error


def _parquet():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError('a Parquet manifest needs pyarrow: pip install "declip-rt[parquet]"') from error
    return pyarrow, pyarrow.parquet


def faults(path: Path, model: str, context: int | None = None) -> Iterator[tuple[int, str]]:
    """The number of each row that training could not use, and why.

    Texts must fit the context of open_clip's `model`, or `context` tokens. Raises ConfigError.
    """
    tokenizer, images, seen = _tokenizer(model, context), Images(path.parent), {}
    for number, raw in enumerate(_raw(path), 1):
        try:
            row = _row(raw, "the row")
            first = seen.setdefault(msgspec.json.encode(row, order="deterministic"), number)
            if first != number:
                yield number, f"the same as row {first}"
                continue
            yield from ((number, why) for why in _faults(row, tokenizer))
            images.open(msgspec.structs.replace(row, edits=()))
        except DeclipError as error:
            yield number, str(error)


def _faults(row: Row, tokenizer: Tokenizer) -> Iterator[str]:
    if not row.perceptual:
        yield "there is no perceptual text"
    for text in (*row.perceptual, *row.semantic):
        if not text.strip():
            yield "a text is empty"
        elif not _fits(text, tokenizer):
            yield f"the context holds {tokenizer.context_length} tokens, and this text is longer: {text!r}"


def _tokenizer(model: str, context: int | None) -> Tokenizer:
    if model not in open_clip.list_models() and ":" not in model:  # open_clip would take another, and say nothing
        raise ConfigError(f"open_clip has no model {model!r}; open_clip.list_models() names those it has")
    try:
        return open_clip.get_tokenizer(model, context)
    except Exception as error:  # open_clip raises nearly anything
        raise ConfigError(f"open_clip cannot make the tokenizer of {model}: {error}") from error


def _fits(text: str, tokenizer: Tokenizer) -> bool:
    """Whether open_clip, which does not say so, would leave the text whole."""
    lengths = (tokenizer.context_length, 2 * tokenizer.context_length)
    tokens = [tokenizer([text, ""], length) for length in lengths]
    return bool((tokens[0][0] != tokens[0][1]).sum() == (tokens[1][0] != tokens[1][1]).sum())


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.manifest", description=__doc__)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--tokenizer", default="ViT-B-32", help="the open_clip model whose context the texts must fit")
    parser.add_argument("--context", type=int, help="tokens that a text may have (default: the model's)")
    options = parser.parse_args()
    bad = set()
    try:
        for number, why in faults(options.manifest, options.tokenizer, options.context):
            bad.add(number)
            print(f"row {number}: {why}")
        rows = sum(1 for _ in _raw(options.manifest))
    except DeclipError as error:
        print(f"manifest: {error}", file=sys.stderr)
        return 2
    print(f"{rows} rows, {len(bad)} with faults")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
