"""Files of strangers, damaged anywhere: each is read, or one error of ours says why not.

`python -m tests.fuzz --seconds 600` tries each target for so long, and prints what it did.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import logging
import random
import resource
import struct
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
import pyarrow
import pyarrow.parquet
from PIL import Image

from declip_rt import Bundle, DeclipError, ImageError, Prompts
from declip_rt.images import lists, sources
from declip_rt.images.load import Loader
from declip_rt.images.memory import Budget
from declip_rt.output import files
from declip_rt.output.html import HtmlPage
from declip_rt.output.records import Columns, Record, key
from declip_rt.prompts import axes
from declip_rt.stats import Stats
from declip_rt.video import planes
from declip_rt.video.pipe import Pipe
from declip_rt.video.pixels import Pixels
from declip_rt.video.reader import Reader
from tests.conftest import encoded, picture
from tests.images.test_raw import dng, sensor_first
from tests.video import clips

NUMBERS = (0, 1, 127, 255, 256, 32767, 65535, 2**31 - 1, 2**32 - 1)
HANGS = 20.0  # seconds
MEMORY = 2**29  # bytes that a photo may take
Read = Callable[[str, bytes], None]  # a file of this suffix and content; raises a DeclipError where it cannot be read


@dataclass
class Found:
    """What was tried of a target."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds
    peak: float = 0.0  # MB that the process came to have more

    def __str__(self) -> str:
        return (
            f"{self.inputs:,} inputs, {self.refused:,} refused, 0 crashes, 0 hangs, slowest {self.slowest:.2f} s, "
            f"peak +{self.peak:.0f} MB"
        )


def damage(data: bytes, rng: random.Random) -> bytes:
    """One to three changes."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(made) + 1)
        some = rng.choice((1, 2, 4, rng.randrange(1, 200)))
        change = rng.randrange(6)
        if change == 0:
            made[at : at + some] = rng.randbytes(some)
        elif change == 1:
            del made[at : at + some]
        elif change == 2:
            made[at:at] = made[max(0, at - some) : at] * rng.randint(1, 50)
        elif change == 3:
            del made[at:]
        elif change == 4 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        else:
            made[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
    return bytes(made)


def fuzz(name: str, seconds: float, seed: int = 0) -> Found:
    """Damages a target's samples for so long. Raises what the target raises but for errors of ours, with its input."""
    found, rng, end = Found(), random.Random(seed), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        samples, read = TARGETS[name](Path(folder))
        for suffix, data in samples:  # all of them can be read
            read(suffix, data)
        before = _peak()
        while time.monotonic() < end:
            suffix, data = rng.choice(samples)
            damaged, began = damage(data, rng), time.monotonic()
            try:
                read(suffix, damaged)
            except DeclipError:
                found.refused += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{name}{suffix}"
                kept.write_bytes(damaged)
                print(f"{name}: {kept} is a crash")
                raise
            found.inputs += 1
            found.slowest = max(found.slowest, time.monotonic() - began)
            if found.slowest > HANGS:
                raise TimeoutError(f"{name}: {suffix} took {found.slowest:.0f} s")
        found.peak = _peak() - before
    return found


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _images(_: Path) -> tuple[list[tuple[str, bytes]], Read]:
    kinds = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "TGA", "PPM", "QOI")
    small = picture(width=48, height=36)
    Image.init()
    samples = [(f".{kind.lower()}", encoded(small, kind)) for kind in kinds if kind in Image.SAVE]
    samples.append((".jpg", encoded(small, "JPEG", progressive=True)))
    many = io.BytesIO()
    Image.fromarray(small).save(many, "TIFF", save_all=True, append_images=[Image.new("1", (200, 90))])
    samples.append((".tif", many.getvalue()))
    heic = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(small)).save(heic, format="HEIF")
    samples.append((".heic", heic.getvalue()))
    for place in (dng, lambda *of: sensor_first(dng(*of))):
        samples.append((".dng", place(encoded(picture(width=600, height=520)), (600, 520), (64, 48))))

    loader = Loader(Bundle().views, Stats(), budget=Budget(MEMORY))

    def read(_: str, data: bytes) -> None:
        loader.load(data)

    return samples, read


def _lists(folder: Path) -> tuple[list[tuple[str, bytes]], Read]:
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg", "b.jpg"], "mos": [1.0, 2.0]}), table)
    samples = [
        (".txt", b"a.jpg\nb c.jpg\n"),
        (".txt", "a.jpg\nü.jpg\n".encode("utf-16")),
        (".csv", b'path,mos\na.jpg,1\n"b,c.jpg",2\n'),
        (".csv", b"Path;mos\r\na.jpg;1\r\n"),
        (".tsv", b"image\tmos\na.jpg\t1\n"),
        (".jsonl", b'{"path": "a.jpg"}\n"b.jpg"\n'),
        (".parquet", table.getvalue()),
    ]

    def read(suffix: str, data: bytes) -> None:
        file = folder / f"list{suffix}"
        file.write_bytes(data)
        for path in lists.read_list(str(file)):  # a folder may be the whole disk
            with suppress(ImageError):
                sources.read(path, 10**6)

    return samples, read


def _rows(folder: Path) -> tuple[list[tuple[str, bytes]], Read]:
    """Score files to go on with: what is kept has what a record needs, and the file can be written on."""
    bundle = Bundle()
    columns = Columns.of(bundle)
    whole = dict.fromkeys(columns.scores, 0.25) | {"percentile": 12.5, "width": 3, "height": 4}

    def sample(suffix: str) -> bytes:
        file = folder / f"sample{suffix}"
        sink = files.open_file(file, columns)
        for name in ("a.jpg", "b, c.jpg", "é.jpg"):
            sink.write(columns.record(path=name, **whole))
        sink.close()
        return file.read_bytes()

    def read(suffix: str, data: bytes) -> None:
        file = folder / f"scores{suffix}"
        for old in (file, files.journal(file)):
            old.unlink(missing_ok=True)
        file.write_bytes(data)
        page = HtmlPage(folder / "page.html", bundle, device="cpu")

        def keep(record: Record) -> bool:
            assert list(record) == list(columns.types)
            assert key(record["path"])
            if record["error"] is not None or not columns.is_whole(record):
                return False
            page.write(record)
            return True

        sink = files.open_file(file, columns, keep)
        sink.write(columns.record(path="z.jpg", **whole))
        sink.close()
        page.close()

    return [(suffix, sample(suffix)) for suffix in (".csv", ".jsonl", ".parquet")], read


def _manifest(folder: Path) -> tuple[list[tuple[str, bytes]], Read]:
    def read(_: str, data: bytes) -> None:
        (folder / "bundle.json").write_bytes(data)
        Bundle(folder, verify=False)

    return [(".json", (Bundle().path / "bundle.json").read_bytes())], read


def _tokenizer(folder: Path) -> tuple[list[tuple[str, bytes]], Read]:
    bundle = Bundle()
    assert bundle.manifest.text is not None
    name = bundle.manifest.text.tokenizer.file
    for other in ("bundle.json", bundle.manifest.text.graph.file):
        (folder / other).symlink_to(bundle.path / other)
    whole = json.loads((bundle.path / name).read_bytes())
    vocabulary = whole["model"]["vocab"]
    whole["model"]["vocab"] = dict(list(vocabulary.items())[:3000])  # damage should not miss what is beside it
    prompts = [Prompts("calm", ("a calm photo",), ("a wild photo",))]

    def read(_: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        axes(Bundle(folder, verify=False), prompts)

    return [(".json", json.dumps(whole).encode())], read


def _videos(folder: Path) -> tuple[list[tuple[str, bytes]], Read]:
    kinds = (*((each, "libx264") for each in ("mp4", "mkv", "ts")), ("mkv", "ffv1"), ("avi", "mjpeg"), ("gif", "gif"))
    samples = []
    for suffix, codec in kinds:
        pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        made = folder / f"{codec}.{suffix}"
        clips.write(made, clips.scenes(1, fps=10, width=64, height=36), fps=10, codec=codec, pix_fmt=pix_fmt, gop=5)
        samples.append((made.suffix, made.read_bytes()))
    frame = bytes(64 * 36 * 3 // 2)
    samples.append((".y4m", b"YUV4MPEG2 W64 H36 F10:1 C420jpeg\n" + (b"FRAME\n" + frame) * 4))

    def read(suffix: str, data: bytes) -> None:
        if suffix == ".y4m":
            pipe = Pipe(io.BytesIO(data))
            convert, pictures = Pixels().convert, planes.pictures(pipe)
            for each in itertools.islice(pictures, 20):
                convert(each.frame)
            return
        with Reader(io.BytesIO(data), every=0.3) as reader:
            for _ in itertools.islice(reader.samples(), 100):  # damaged times may name years
                pass

    return samples, read


TARGETS: dict[str, Callable[[Path], tuple[list[tuple[str, bytes]], Read]]] = {
    "decode": _images,
    "lists": _lists,
    "resume": _rows,
    "bundle.json": _manifest,
    "tokenizer": _tokenizer,
    "video": _videos,
}


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for name in options.targets or TARGETS:
        print(f"{name}: {fuzz(name, options.seconds, options.seed)}", flush=True)


if __name__ == "__main__":
    main()
