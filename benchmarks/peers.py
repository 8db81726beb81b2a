"""declip-rt beside what users would write instead, on a CPU: `python -m benchmarks.peers [--data DIR]`.

Same weights, same photos, same machine, from files on disk to scores. Each contender runs in a process of its own,
warms up, and scores each set PASSES times. The model is --checkpoint, exported on the spot, or a full-size ViT-B/32
with random weights. Photos are generated, or taken from DIR/live_challenge (500x500) and DIR/photos_4k (8 megapixels).
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from declip_rt import Bundle, Scorer
from declip_rt.bundle import ViewSpec
from declip_rt.views import box_of

PASSES = 3
BATCH = 32  # of the DataLoader
COUNTS = {"500x500": 96, "8 megapixels": 64}  # photos a pass
SIZES = {"500x500": (500, 500), "8 megapixels": (3264, 2448)}
FOLDERS = {"500x500": "live_challenge/images", "8 megapixels": "photos_4k"}
ROOT = Path(__file__).parents[1]
Score = Callable[[Sequence[str]], list[float]]  # paths -> technical scores


def by_pillow(path: str, spec: ViewSpec) -> np.ndarray:
    """(V, S, S, 3), as one would write it."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    side = spec.size
    boxes = [box_of(placement, side, *rgb.size) for placement in spec.placements]
    return np.stack([np.asarray(rgb.resize((side, side), Image.Resampling.BICUBIC, box)) for box in boxes])


def torch_loop(checkpoint: Path, _: Path) -> Score:
    import torch

    from train.model import load

    config, model, _ = load(checkpoint)
    model.eval()

    @torch.inference_mode()
    def score(paths: Sequence[str]) -> list[float]:
        pixels = (torch.from_numpy(by_pillow(path, config.views))[None] for path in paths)
        return [float(model(some)[0][0, 0]) for some in pixels]

    return score


def torch_loader(checkpoint: Path, _: Path, *, compiled: bool = False) -> Score:
    import torch

    from train.model import load

    config, model, _ = load(checkpoint)
    forward = torch.compile(model.eval(), dynamic=False) if compiled else model.eval()

    class Photos(torch.utils.data.Dataset):
        def __init__(self, paths: Sequence[str]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.from_numpy(by_pillow(self.paths[i], config.views))

    @torch.inference_mode()
    def score(paths: Sequence[str]) -> list[float]:
        loader = torch.utils.data.DataLoader(Photos(paths), batch_size=BATCH, num_workers=2)
        return [float(value) for pixels in loader for value in forward(pixels)[0][:, 0]]

    return score


def onnx_by_hand(_: Path, bundle: Path) -> Score:
    import onnxruntime

    opened = Bundle(bundle)
    session = onnxruntime.InferenceSession(str(opened.graph()), providers=["CPUExecutionProvider"])

    def score(paths: Sequence[str]) -> list[float]:
        scores: list[float] = []
        for first in range(0, len(paths), 8):
            pixels = np.stack([by_pillow(path, opened.views) for path in paths[first : first + 8]])
            scores += session.run(["scores"], {"pixels": pixels})[0][:, 0].tolist()
        return scores

    return score


def ours(_: Path, bundle: Path, **options: str) -> Score:
    scorer = Scorer(bundle, "cpu", **options)  # type: ignore[arg-type]
    return lambda paths: [score.technical for score in scorer.score_many(paths)]


CONTENDERS: dict[str, Callable[[Path, Path], Score]] = {
    "torch and Pillow in a loop, batch 1": torch_loop,
    "torch DataLoader, 2 workers, batch 32": torch_loader,
    "the same, torch.compile": lambda *paths: torch_loader(*paths, compiled=True),
    "ONNX Runtime by hand, Pillow, batch 8": onnx_by_hand,
    "declip-rt, fp32": lambda *paths: ours(*paths, precision="fp32"),
    "declip-rt, fp32, --decode-scale auto": lambda *paths: ours(*paths, precision="fp32", decode_scale="auto"),
    "declip-rt, int8": lambda *paths: ours(*paths, precision="int8"),
    "declip-rt, int8, --decode-scale auto": lambda *paths: ours(*paths, precision="int8", decode_scale="auto"),
}


def run_one(name: str, checkpoint: Path, bundle: Path, sets: dict[str, list[str]]) -> dict[str, object]:
    """In the contender's process: images/s of each pass over each set, the first scores, and the peak memory in MB."""
    score = CONTENDERS[name](checkpoint, bundle)
    result: dict[str, object] = {}
    for what, paths in sets.items():
        score(paths[:BATCH])
        speeds = []
        for _ in range(PASSES):
            began = time.perf_counter()
            scores = score(paths)
            speeds.append(len(paths) / (time.perf_counter() - began))
        result[what] = speeds
        result[f"{what}, scores"] = scores[:16]
    return result | {"memory": peak()}


def measure(name: str, checkpoint: Path, bundle: Path, sets: dict[str, list[str]]) -> dict[str, object]:
    """`run_one` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peers", "--one", "-"]
    job = json.dumps([name, str(checkpoint), str(bundle), sets])
    done = subprocess.run(command, input=job, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """This process's peak resident memory, in MB, without its workers'."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def vit(folder: Path) -> Path:
    """A checkpoint of a full-size ViT-B/32 with random weights."""
    import open_clip
    import torch
    from msgspec.structs import replace

    from declip_rt.bundle import Calibration, Placement
    from train.config import Config
    from train.model import build, save

    torch.manual_seed(0)
    config = Config.read(ROOT / "train" / "configs" / "declip-tiny.toml")
    config = replace(
        config,
        name="ViT-B-32",
        clip=replace(config.clip, model="ViT-B-32", steps=0),
        views=ViewSpec(224, (Placement(224),)),
    )
    save(folder / "declip.pt", config, build(config, open_clip.create_model("ViT-B-32")).eval(), Calibration())
    return folder / "declip.pt"


def write_bundle(checkpoint: Path, folder: Path) -> bool:
    """Exports the checkpoint, with an INT8 graph wherever one can be made: here only its speed counts."""
    import msgspec

    from declip_rt.bundle import Graph
    from export.__main__ import export
    from export.int8 import write_int8

    manifest = export(checkpoint, folder, None)
    if not write_int8(folder / "fp32.onnx", folder / "int8.onnx"):
        return False
    graphs = manifest.graphs | {"int8": Graph.of(folder / "int8.onnx")}
    msgspec.structs.replace(manifest, graphs=graphs).write(folder)
    return True


def photos(data: Path | None, folder: Path) -> dict[str, list[str]]:
    """The paths of each set, repeated until there are enough."""
    found: dict[str, list[str]] = {}
    for what, count in COUNTS.items():
        files = sorted((data / FOLDERS[what]).rglob("*.jp*g")) if data else list(generated(folder, SIZES[what]))
        found[what] = [str(file) for file in itertools.islice(itertools.cycle(files), count)]
    return found


def generated(folder: Path, size: tuple[int, int]) -> Iterator[Path]:
    """Our example photos at this size with a little noise, as JPEG of quality 90."""
    for i, source in enumerate(sorted((ROOT / "examples" / "photos").glob("*.jpg"))[:8]):
        large = np.asarray(Image.open(source).convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
        noisy = large + np.random.default_rng(i).normal(0, 4, large.shape)
        path = folder / f"{size[0]}-{i}.jpg"
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=90)
        yield path


def table(results: dict[str, dict[str, object]], sets: dict[str, list[str]]) -> str:
    lines = [
        f"| | {' | '.join(f'{what}, images/s' for what in sets)} | peak memory |",
        "|---|" + "---|" * (len(sets) + 1),
    ]
    for name, result in results.items():
        cells = []
        for what in sets:
            speeds: list[float] = result[what]  # type: ignore[assignment]
            cells.append(f"{statistics.median(speeds):.1f} ({min(speeds):.1f} to {max(speeds):.1f})")
        lines.append(f"| {name} | {' | '.join(cells)} | {result['memory']:.0f} MB |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--data", type=Path, help="the data folder; without it, photos are generated")
    parser.add_argument("--checkpoint", type=Path, help="declip.pt of python -m train.run (default: a random ViT-B/32)")
    parser.add_argument("--only", action="append", metavar="WORD", help="contenders with this word; repeatable")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the table there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, checkpoint, bundle, sets = json.load(sys.stdin)
        print(json.dumps(run_one(name, Path(checkpoint), Path(bundle), sets)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = (options.checkpoint or vit(folder)).resolve()
        with_int8 = write_bundle(checkpoint, folder / "bundle")
        sets = photos(options.data and options.data.resolve(), folder)
        results: dict[str, dict[str, object]] = {}
        for name in CONTENDERS:
            wanted = not options.only or any(word in name for word in options.only)
            if wanted and (with_int8 or "int8" not in name):
                results[name] = measure(name, checkpoint, folder / "bundle", sets)
                print(name, {what: np.round(results[name][what], 1).tolist() for what in sets}, flush=True)
        name = Bundle(folder / "bundle").name
        given = [f"--{option} {option.upper()}" for option in ("checkpoint", "data") if getattr(options, option)]
    text = f"# {name} on a CPU, beside its peers\n\n{heading(given)}\n\n{table(results, sets)}\n"
    print(text)
    if options.out:
        (options.out / f"cpu-{re.sub('[^a-z0-9]+', '-', name.lower())}.md").write_text(text)
    return 0


def heading(given: list[str]) -> str:
    """What was run, with which options, when and on what."""
    from train.evaluate import machine  # not above: it brings torch, which would count as our memory

    names = ("torch", "onnxruntime", "pillow", "simplejpeg", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"`python -m benchmarks.peers {' '.join(given)}`, {datetime.date.today()}, {machine()}, {versions}.\n"
        f"Median of {PASSES} passes (lowest to highest), from files to scores; peak memory of the main process."
    )


if __name__ == "__main__":
    sys.exit(main())
