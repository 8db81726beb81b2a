"""declip-rt beside what users would write instead, on a CPU: `python -m benchmarks.peers [--data DIR]`.

Same weights, same photos, same machine, from files on disk to scores. Each contender runs in a process of its own,
warms up, and scores each set PASSES times. The models are those of MODELS with random weights, or that of --checkpoint.
Photos are generated, or taken from DIR/live_challenge (500x500) and DIR/photos_4k (8 megapixels).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.contenders import BATCH, CLIPIQA, CONTENDERS, LIMIT, OURS, by_pillow
from declip_rt import Bundle
from declip_rt.backends.instructions import flags, multiplies_8_bits
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.errors import EngineError, Unavailable

PASSES = 3
SAME = 1e-3  # of scores
COUNTS = {"500x500": 96, "8 megapixels": 64}  # photos a pass
FEW = {"500x500": 6, "8 megapixels": 1}  # for the slowest contender
SIZES = {"500x500": (500, 500), "8 megapixels": (3264, 2448)}
FOLDERS = {"500x500": "live_challenge/images", "8 megapixels": "photos_4k"}
MODELS = ("ViT-B-32", "declip-tiny")
MODULES = {"pillow": "PIL"}
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX INT8",
    "amx_bf16": "AMX bf16",
}
ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "train" / "configs"
Result = dict[str, list[float]]  # images/s of each pass over each set; "SET, scores": its first scores; "memory": [MB]
Sets = dict[str, list[str]]


def run_one(name: str, checkpoint: Path, bundle: Path, sets: Sets) -> Result:
    """In the contender's process."""
    score = CONTENDERS[name](checkpoint, bundle)
    result: Result = {}
    for what, paths in sets.items():
        score(paths[:BATCH])
        speeds = []
        for _ in range(PASSES):
            began = time.perf_counter()
            scores = score(paths)
            speeds.append(len(paths) / (time.perf_counter() - began))
        result[what] = speeds
        result[f"{what}, scores"] = scores[:16]
    return result | {"memory": [peak_memory() or 0.0]}


def measure(name: str, checkpoint: Path, bundle: Path, sets: Sets) -> Result | str:
    """`run_one` in a process of its own; why there is no result, where declip-rt refuses to score so."""
    command = [sys.executable, "-m", "benchmarks.peers", "--one", "-"]
    job = json.dumps([name, str(checkpoint), str(bundle), sets])
    done = subprocess.run(command, input=job, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    result: Result | str = json.loads(done.stdout.splitlines()[-1])
    return result


def random_model(name: str, folder: Path) -> Path:
    """A checkpoint of one of MODELS with random weights."""
    import torch
    from msgspec.structs import replace

    from declip_rt.model.manifest import Calibration, Placement, ViewSpec
    from train import clip
    from train.config import Config
    from train.model import build, save

    torch.manual_seed(0)
    config = Config.read(CONFIGS / "declip-tiny.toml")
    if name != config.name:
        tower, views = replace(config.clip, model=name, steps=0), ViewSpec(224, (Placement(224),))
        config = replace(config, name=name, clip=tower, views=views)
    path = folder / f"{name}.pt"
    save(path, config, build(config, clip.load(config.clip, CONFIGS)).eval(), Calibration())
    return path


def write_bundle(checkpoint: Path, folder: Path, sets: Sets) -> bool:
    """Exports the checkpoint; where an INT8 graph pays, it goes with it unproven, since only its speed counts here."""
    import msgspec

    from declip_rt.model.manifest import Graph
    from export.__main__ import export
    from export.int8 import write_int8

    manifest = export(checkpoint, folder, None)
    pixels = np.stack([by_pillow(path, manifest.views) for path in next(iter(sets.values()))[:BATCH]])
    with tempfile.TemporaryDirectory() as temporary:
        found = write_int8(folder / "fp32.onnx", Path(temporary), pixels) if multiplies_8_bits() else []
        made = [each for each in found if each.pays]
        for fastest in made[:1]:
            print(f"int8.onnx: {fastest}")
            shutil.copy(fastest.file, folder / "int8.onnx")
            graphs = manifest.graphs | {"int8": Graph.of(folder / "int8.onnx")}
            msgspec.structs.replace(manifest, graphs=graphs).write(folder)
    return bool(made)


def photos(data: Path | None, folder: Path) -> Sets:
    """The paths of each set, repeated until there are enough."""
    found: Sets = {}
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


def table(results: dict[str, Result], sets: Sets) -> str:
    """Speeds, and those of declip-rt as multiples of the fastest peer's."""
    lines = [
        f"| | {' | '.join(f'{what}, images/s' for what in sets)} | peak memory |",
        "|---|" + "---|" * (len(sets) + 1),
    ]
    peers = [result for name, result in results.items() if not name.startswith(OURS) and name != LIMIT]
    for name, result in results.items():
        cells = []
        for what in sets:
            speed = statistics.median(result[what])
            cell = f"{speed:.{1 if speed > 1 else 2}f} ({min(result[what]):.2f} to {max(result[what]):.2f})"
            if name.startswith(OURS) and peers:
                cell += f", **{speed / max(statistics.median(peer[what]) for peer in peers):.2f}x**"
            cells.append(cell)
        lines.append(f"| {name} | {' | '.join(cells)} | {result['memory'][0]:.0f} MB |")
    return "\n".join(lines)


def compare(checkpoint: Path, folder: Path, sets: Sets, words: list[str]) -> str:
    """Measures the contenders with one of the words, and returns their section."""
    with_int8 = write_bundle(checkpoint, folder, sets)
    results: dict[str, Result] = {}
    refused: list[str] = []
    for name in CONTENDERS:
        if not any(word in name for word in words) or ("int8" in name and not with_int8):
            continue
        if name == CLIPIQA and not importlib.util.find_spec("pyiqa"):
            print(f"left out {name}: pip install pyiqa 'setuptools<81'")
            continue
        few = {what: paths[: FEW[what]] for what, paths in sets.items()}
        measured = measure(name, checkpoint, folder, few if name == CLIPIQA else sets)
        if isinstance(measured, str):
            refused.append(f"{name}: {measured}")
            print(f"left out {refused[-1]}")
            continue
        results[name] = measured
        check(name, results)
        print(name, {what: np.round(results[name][what], 1).tolist() for what in sets}, flush=True)
    notes = "".join(f"\nLeft out {each}\n" for each in refused)
    return f"## {Bundle(folder).name}\n\n{table(results, sets)}\n{notes}"


def check(name: str, results: dict[str, Result]) -> None:
    """Raises SystemExit where contenders of the same weights and pixels score differently."""
    alike = [each for each in results if not re.search("int8|bf16|--decode-scale|clipiqa|decoding alone", each)]
    if name not in alike:
        return
    for key in (key for key in results[name] if key.endswith(", scores")):
        ours, first = results[name][key], results[alike[0]][key]
        if not np.allclose(ours, first, atol=SAME):
            raise SystemExit(f"{name} scores other than {alike[0]}: {ours} and {first}")


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--data", type=Path, help="the data folder; without it, photos are generated")
    parser.add_argument("--checkpoint", type=Path, help="declip.pt of python -m train.run, in place of random weights")
    parser.add_argument("--model", choices=MODELS, help="one of them with random weights (default: all)")
    parser.add_argument("--only", action="append", metavar="WORD", help="contenders with this word; repeatable")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there, as Markdown")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, checkpoint, bundle, sets = json.load(sys.stdin)
        try:
            print(json.dumps(run_one(name, Path(checkpoint), Path(bundle), sets)))
        except (EngineError, Unavailable) as error:
            print(json.dumps(str(error)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = photos(options.data and options.data.resolve(), folder)
        given = (
            [options.checkpoint.resolve()]
            if options.checkpoint
            else [random_model(name, folder) for name in MODELS if options.model in (name, None)]
        )
        sections = [compare(path, folder / f"bundle-{path.stem}", sets, options.only or [""]) for path in given]
    named = [f"--{option} {option.upper()}" for option in ("checkpoint", "data") if getattr(options, option)]
    named += [f"--model {options.model}"] if options.model else []
    text = f"# declip-rt on a CPU, beside its peers\n\n{heading(named)}\n\n" + "\n".join(sections)
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


def heading(given: list[str]) -> str:
    """What was run, with which options, when and on what."""
    names = ("torch", "onnxruntime", "openvino", "pillow", "simplejpeg", "numpy")
    versions = ", ".join(
        f"{name} {version(name)}" for name in names if importlib.util.find_spec(MODULES.get(name, name))
    )
    weights = "" if any("CHECKPOINT" in each for each in given) else " Weights are random, and INT8 graphs unproven."
    return (
        f"`python -m benchmarks.peers {' '.join(given)}`, {datetime.date.today()}, {Machine.here()}, {versions}. "
        f"The CPU has {instructions()}.\n"
        f"From files to scores: median of {PASSES} passes (lowest to highest); in bold, how many times as fast as the "
        f"fastest peer. Peak memory is that of the main process.{weights}"
    )


def instructions() -> str:
    """Those of the CPU that matter."""
    named = [name for flag, name in INSTRUCTIONS.items() if flag in flags()]
    lacks = [name for flag, name in INSTRUCTIONS.items() if flag not in flags()]
    return ", ".join(named or ["none of these"]) + (f", and not {', '.join(lacks)}" if lacks else "")


if __name__ == "__main__":
    sys.exit(main())
