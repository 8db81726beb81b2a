"""`make gpu-check`: all that needs an NVIDIA GPU, in one run of less than ten minutes.

Writes benchmarks/results/gpu-NAME.json and .md: each check passed, failed or not run, and why; and the figures beside
what they should be. The model of the figures is ViT-B/32 with random weights, or that of --checkpoint or --bundle.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np

from benchmarks.contenders import ours, torch_loader
from benchmarks.peers import random_model
from declip_rt import Bundle, DeclipError, Scorer, native
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.bench.measure import Effort, fill, throughput
from declip_rt.commands.bench import made_up
from declip_rt.errors import Unavailable

ROOT = Path(__file__).parents[1]
BATCHES = "1,8,32,64"
SECONDS = 2.0  # of each measurement of the bench
BUSY = 10.0  # seconds of full lanes
AIMS = {  # figure: the least, the most
    "engine over compiled torch": (1.3, None),
    "from JPEG files over a torch DataLoader": (5.0, None),
    "share of time that the GPU is busy": (0.9, None),
    "p99 over p50 at batch 1": (None, 2.0),
    "growth of GPU memory, MB": (None, 16.0),
    "growth of resident memory, MB": (None, 64.0),
}


class NotRun(Exception):
    """What a check needs is not here."""


@dataclass
class Check:
    """What came of one."""

    name: str
    state: str = "passed"  # failed, not run
    said: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def run(self, function: Callable[[Check], None]) -> Check:
        print(f"{self.name} ...", flush=True)
        try:
            function(self)
            self._judge()
        except (NotRun, Unavailable) as error:
            self.state, self.said = "not run", [str(error)]
        except (DeclipError, subprocess.SubprocessError, RuntimeError, OSError) as error:
            self.state, self.said = "failed", [f"{type(error).__name__}: {error}"]
        print(f"  {self.state}: {'; '.join(self.said)} {self.figures or ''}", flush=True)
        return self

    def _judge(self) -> None:
        for name, value in self.figures.items():
            least, most = AIMS.get(name, (None, None))
            if (least is not None and value < least) or (most is not None and value > most):
                self.said.append(f"{name} should be {f'at least {least}' if least else f'at most {most}'}")
                self.state = "failed"


def kernels(check: Check) -> None:
    size = len(native.fatbin())
    if not size:
        raise NotRun("declip-rt was built without nvcc")
    check.said.append(f"a fatbin of {size} bytes")


def tests(check: Check) -> None:
    """tests/gpu, whose skipped tests are said."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/gpu", f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if not report.exists():
            raise NotRun(f"pytest does not start: {(done.stderr or done.stdout)[-300:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = [each for each in cases if each.find("skipped") is not None]
    failed = [each for each in cases if each.find("failure") is not None or each.find("error") is not None]
    check.figures = {"passed": len(cases) - len(skipped) - len(failed), "skipped": len(skipped), "failed": len(failed)}
    check.said = [f"failed: {each.get('name')}" for each in failed]
    check.said += sorted({f"skipped: {each.find('skipped').get('message')}" for each in skipped})  # type: ignore[union-attr]
    check.state = "failed" if failed or not check.figures["passed"] else "passed"


@dataclass(frozen=True)
class Model:
    checkpoint: Path | None
    bundle: Path | None

    @staticmethod
    @contextmanager
    def made(checkpoint: Path | None, bundle: Path | None) -> Iterator[Model]:
        """The bundle; or the checkpoint, or a random ViT-B/32, exported; or, where that cannot be, the embedded one."""
        if bundle or any(importlib.util.find_spec(name) is None for name in ("torch", "open_clip", "onnx")):
            yield Model(checkpoint, bundle)
            return
        from export.__main__ import export

        with tempfile.TemporaryDirectory() as folder:
            found = checkpoint or random_model("ViT-B-32", Path(folder))
            export(found, Path(folder) / "bundle", None)
            yield Model(found, Path(folder) / "bundle")

    def bench(self, device: str, check: Check) -> None:
        """`declip-rt bench`, beside compiled torch where that is installed."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [sys.executable, "-m", "benchmarks.bench", "--device", device, "--batch", BATCHES]
            command += ["--seconds", str(SECONDS), "--json", str(report)]
            command += ["--model", str(self.bundle)] if self.bundle else []
            if self.checkpoint:
                command += ["--against", "torch-compile", "--checkpoint", str(self.checkpoint)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
            if not report.exists():
                options = EngineOptions(device=device, batch=1)
                open_engine(Bundle(self.bundle), options).close()  # raises where it is not installed
                raise RuntimeError(done.stderr[-300:])
            found = json.loads(report.read_text())
        check.said += done.stdout.splitlines()
        best: dict[str, float] = {}
        for row in found["rows"]:
            name, speed = row["contender"], row["images_per_s"]["median"]
            best[name] = max(best.get(name, 0.0), speed)
            if name == "declip-rt" and row["batch"] == 1:
                check.figures["p99 over p50 at batch 1"] = row["latency"]["p99"] / row["latency"]["p50"]
        check.figures |= {f"{name}, images/s": speed for name, speed in best.items()}
        if "torch-compile" in best and device == "tensorrt":
            check.figures["engine over compiled torch"] = best["declip-rt"] / best["torch-compile"]

    def busy(self, check: Check) -> None:
        """All lanes full of images that are decoded already, while nvidia-smi watches."""
        bundle = Bundle(self.bundle)
        with closing(open_engine(bundle, EngineOptions(device="tensorrt", batch=32))) as engine, watched() as shares:
            fill(engine, bundle.views)
            throughput(engine, Effort(seconds=BUSY))
        if not shares[2:]:
            raise NotRun("nvidia-smi does not say how busy the GPU is")
        check.figures["share of time that the GPU is busy"] = float(np.median(shares[2:]))

    def end_to_end(self, check: Check) -> None:
        """From files to scores, beside torch and a DataLoader with a worker a core."""
        if self.checkpoint is None or self.bundle is None:
            raise NotRun("it needs torch, open_clip and onnx, or --bundle and --checkpoint")
        with tempfile.TemporaryDirectory() as folder:
            paths = made_up(Path(folder), 500, 500) * 256
            speeds = {}
            for name, score in (
                ("declip-rt", ours(self.checkpoint, self.bundle, "tensorrt")),
                ("DataLoader", torch_loader(self.checkpoint, self.bundle, device="cuda", workers=os.cpu_count() or 2)),
            ):
                score(paths[:128])
                began = time.perf_counter()
                score(paths)
                speeds[name] = len(paths) / (time.perf_counter() - began)
        check.figures = {f"{name}, 500x500 JPEGs/s": speed for name, speed in speeds.items()}
        check.figures["from JPEG files over a torch DataLoader"] = speeds["declip-rt"] / speeds["DataLoader"]

    def stress(self, seconds: float, check: Check) -> None:
        """Photos and broken files, over and over: memory must be flat once warm."""
        context = Context(0)
        with tempfile.TemporaryDirectory() as folder, Scorer(self.bundle, "tensorrt") as scorer:
            images: list[str | bytes] = [*made_up(Path(folder), 640, 480), b"no image"]
            began, held, resident, count = time.perf_counter(), list[float](), list[float](), 0
            with closing(scorer.score_many(itertools.cycle(images), return_errors=True)) as scores:
                while time.perf_counter() - began < seconds:
                    count += sum(1 for _ in itertools.islice(scores, 500))
                    held.append((context.free()[1] - context.free()[0]) / 1e6)
                    resident.append(peak_memory() or 0.0)
        warm = (len(held) - 1) // 4
        check.said.append(f"{count} images in {seconds:.0f} s")
        check.figures["growth of GPU memory, MB"] = held[-1] - held[warm]
        check.figures["growth of resident memory, MB"] = resident[-1] - resident[warm]


@contextmanager
def watched() -> Iterator[list[float]]:
    """The shares of time that nvidia-smi saw the GPU busy, once a second."""
    shares, done = list[float](), threading.Event()
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def watch() -> None:
        while shutil.which("nvidia-smi") and not done.wait(1):
            said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
            shares.extend(int(said[0]) / 100 for _ in said[:1] if said[0].isdigit())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield shares
    finally:
        done.set()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="of train, instead of a random ViT-B/32")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="exported already, from --checkpoint if that is given"
    )
    parser.add_argument("--stress", type=float, default=120.0, metavar="S", help="seconds (default: 120)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    options = parser.parse_args()
    try:
        name = Context(0).name
    except DeclipError as error:
        print(f"gpu-check: NOT RUN: {error}", file=sys.stderr)
        return 2
    checks = [Check("the kernels are built").run(kernels), Check("tests/gpu").run(tests)]
    with Model.made(options.checkpoint, options.bundle) as model:
        for device in ("tensorrt", "cuda"):
            checks.append(Check(f"declip-rt bench --device {device}").run(partial(model.bench, device)))
        checks.append(Check("the GPU is kept busy").run(model.busy))
        checks.append(Check("from files to scores").run(model.end_to_end))
        checks.append(Check("stress").run(partial(model.stress, options.stress)))
    unmeasured = [aim for aim in AIMS if not any(aim in check.figures for check in checks)]
    if unmeasured:
        checks.append(Check("aims without a figure", "not run", unmeasured))
    write(options.out / f"gpu-{name.replace(' ', '-').lower()}", name, checks)
    return int(any(check.state == "failed" for check in checks))


def write(path: Path, name: str, checks: list[Check]) -> None:
    date = datetime.date.today().isoformat()
    machine = msgspec.to_builtins(Machine.here("torch"))
    found = {"gpu": name, "date": date, "machine": machine, "checks": [asdict(check) for check in checks]}
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [f"# {name}", "", f"Measured {date} by `make gpu-check`.", "", "| check | | figures |", "|---|---|---|"]
    for check in checks:
        figures = "; ".join(f"{what} {value:.3g}" for what, value in check.figures.items())
        lines.append(f"| {check.name} | {check.state} | {figures} |")
    for check in checks:
        lines += ["", f"## {check.name}: {check.state}", "", "```", *check.said, "```"] if check.said else []
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
