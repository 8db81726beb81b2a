"""`make gpu-check`: all that needs an NVIDIA GPU, in one run of ten minutes or of --minutes.

Writes benchmarks/results/gpu-NAME.json and .md after each check: it passed, failed or was not run, and why; and the
figures beside what they should be. A check that fails, in whatever way, stops no other, and takes no more than half of
the time left. The model of the figures is ViT-B/32 with random weights, or that of --checkpoint or --bundle.
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
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np

from benchmarks.contenders import Score, ours, torch_loader
from benchmarks.peers import random_model
from declip_rt import Bundle, DeclipError, Scorer, native
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import EngineOptions
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.onnxrt.session import has_cuda
from declip_rt.bench.machine import Machine, peak_memory
from declip_rt.bench.measure import Effort, fill, throughput
from declip_rt.commands import probes
from declip_rt.commands.bench import made_up
from declip_rt.errors import Unavailable

ROOT = Path(__file__).parents[1]
MINUTES = 10.0
LEAST = 10.0  # seconds that a check needs
BATCHES, RIVAL_BATCHES = "1,8,32,64", "1,64"
SECONDS = 2.0  # of each measurement of the bench
BUSY = 10.0  # seconds of full lanes
IMAGES = 20_000  # from files: fewer would measure how a DataLoader starts
FIRST_IMAGES = 2_000  # say how many the time allows
KERNELS, TESTS, BENCH = "the kernels are built", "tests/gpu", "declip-rt bench"
ENGINES = {"tensorrt": ("tensorrt", None), "rtx": ("tensorrt", "rtx"), "cuda": ("cuda", None)}  # device, recipe
FIGURES = ("the GPU is kept busy", "beside compiled torch", "from files to scores", "stress")  # checks after the bench
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


class Clock:
    """The time that all checks share."""

    def __init__(self, minutes: float = MINUTES) -> None:
        self._minutes, self._end = minutes, time.monotonic() + 60 * minutes

    @property
    def share(self) -> float:
        """Seconds that a check may take: half of those left. Raises NotRun where they are too few."""
        share = (self._end - time.monotonic()) / 2
        if share < LEAST:
            raise NotRun(f"the {self._minutes:g} minutes are over; --only runs some of the checks")
        return share


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
            self.state, self.said = "not run", [*self.said, str(error)]
        except Exception as error:  # no library's failure may take the other checks along
            self.state, self.said = "failed", [*self.said, f"{type(error).__name__}: {error}"]
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


def tests(clock: Clock, check: Check) -> None:
    """tests/gpu, whose skipped tests are said."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/gpu", f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=clock.share, check=False)
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
    """What the figures are of. engine: one of ENGINES."""

    checkpoint: Path | None
    bundle: Path | None
    engine: str
    clock: Clock

    @property
    def options(self) -> dict[str, str]:
        """The device, and the recipe if it needs one."""
        device, recipe = ENGINES[self.engine]
        return {"device": device} | ({"recipe": recipe} if recipe else {})

    def exported(self, folder: Path, check: Check) -> Model:
        """With a bundle, in the folder, of the checkpoint or of a random ViT-B/32."""
        missing = [name for name in ("torch", "open_clip", "onnxscript") if importlib.util.find_spec(name) is None]
        if missing:
            raise NotRun(f"{', '.join(missing)} not installed: the embedded model is measured")
        from export.__main__ import export

        began, found = time.perf_counter(), self.checkpoint or random_model("ViT-B-32", folder)
        export(found, folder / "bundle", None)
        check.said.append(f"exported in {time.perf_counter() - began:.0f} s")
        return replace(self, checkpoint=found, bundle=folder / "bundle")

    def bench(self, check: Check) -> None:
        """`declip-rt bench` alone."""
        best = self._bench(check, BATCHES, [])
        check.figures |= {f"{name}, images/s": speed for name, speed in best.items()}

    def rivals(self, check: Check) -> None:
        """The same, beside torch that is compiled."""
        if self.checkpoint is None:
            raise NotRun("it needs torch, open_clip and onnxscript, or --bundle and --checkpoint")
        best = self._bench(check, RIVAL_BATCHES, ["--against", "torch-compile", "--checkpoint", str(self.checkpoint)])
        check.figures = {f"{name}, images/s": speed for name, speed in best.items()}
        check.figures["engine over compiled torch"] = best["declip-rt"] / best["torch-compile"]

    def _bench(self, check: Check, batches: str, more: list[str]) -> dict[str, float]:
        """The best images/s of each contender."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [sys.executable, "-m", "benchmarks.bench", "--batch", batches, "--seconds", str(SECONDS)]
            command += [part for name, value in self.options.items() for part in (f"--{name}", value)]
            command += ["--json", str(report), *(["--model", str(self.bundle)] if self.bundle else []), *more]
            share = self.clock.share
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=share, check=False)
            if not report.exists():
                options = EngineOptions(batch=1, **self.options)  # type: ignore[arg-type]
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
        return best

    def busy(self, check: Check) -> None:
        """All lanes full of images that are decoded already, while nvidia-smi watches."""
        bundle = Bundle(self.bundle)
        options = EngineOptions(batch=32, **self.options)  # type: ignore[arg-type]
        with closing(open_engine(bundle, options)) as engine, watched() as shares:
            fill(engine, bundle.views)
            throughput(engine, Effort(seconds=min(BUSY, self.clock.share)))
        if not shares[2:]:
            raise NotRun("nvidia-smi does not say how busy the GPU is")
        check.figures["share of time that the GPU is busy"] = float(np.median(shares[2:]))

    def end_to_end(self, check: Check) -> None:
        """From files to scores, beside torch and a DataLoader with a worker a core."""
        if self.checkpoint is None or self.bundle is None:
            raise NotRun("it needs torch, open_clip and onnxscript, or --bundle and --checkpoint")
        with tempfile.TemporaryDirectory() as folder:
            made = made_up(Path(folder), 500, 500)
            paths = made * -(-IMAGES // len(made))
            speeds = {}
            for name, score in (
                ("declip-rt", ours(self.checkpoint, self.bundle, **self.options)),
                ("DataLoader", torch_loader(self.checkpoint, self.bundle, device="cuda", workers=os.cpu_count() or 2)),
            ):
                share = self.clock.share / 2
                score(paths[:128])
                count = min(IMAGES, max(1, int(share * rate(score, paths[:FIRST_IMAGES]))))
                speeds[name] = rate(score, paths[:count])
                check.said.append(f"{name}: {count} files")
        check.figures = {f"{name}, 500x500 JPEGs/s": speed for name, speed in speeds.items()}
        check.figures["from JPEG files over a torch DataLoader"] = speeds["declip-rt"] / speeds["DataLoader"]

    def stress(self, seconds: float, check: Check) -> None:
        """Photos and broken files, over and over: memory must be flat once warm."""
        context, seconds = Context(0), min(seconds, self.clock.share)
        with tempfile.TemporaryDirectory() as folder, Scorer(self.bundle, **self.options) as scorer:  # type: ignore[arg-type]
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


def rate(score: Score, paths: list[str]) -> float:
    """Paths a second."""
    began = time.perf_counter()
    score(paths)
    return len(paths) / (time.perf_counter() - began)


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


def installed_engine() -> str:
    """The first of ENGINES whose library can be imported. Raises Unavailable."""
    for name, module in (("tensorrt", "tensorrt"), ("rtx", "tensorrt_rtx")):
        if importlib.util.find_spec(module) and not probes.ask("imports", module).error:
            return name
    if has_cuda():
        return "cuda"
    raise Unavailable("no engine for GPUs is installed: see the extras tensorrt, rtx and cuda")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--device", choices=["auto", *ENGINES], default="auto", help="auto is what is installed")
    parser.add_argument("--only", action="append", metavar="WORD", help="checks with this word; repeatable")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help=f"default: {MINUTES:g}")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="of train, instead of a random ViT-B/32")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="exported already, from --checkpoint if that is given"
    )
    parser.add_argument("--stress", type=float, default=120.0, metavar="S", help="seconds (default: 120)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    options, names = parser.parse_args(), (KERNELS, TESTS, BENCH, *FIGURES)
    for word in options.only or ():
        if not any(word in each for each in names):
            parser.error(f"--only {word}: no check has this word; there are: {', '.join(names)}")
    try:
        name = Context(0).name
        engine = installed_engine() if options.device == "auto" else options.device
    except DeclipError as error:
        print(f"gpu-check: NOT RUN: {error}", file=sys.stderr)
        return 2
    clock, checks, out = Clock(options.minutes), list[Check](), options.out / f"gpu-{name.replace(' ', '-').lower()}"

    def is_wanted(what: str) -> bool:
        return not options.only or any(word in what for word in options.only)

    def run(what: str, function: Callable[[Check], None]) -> None:
        if is_wanted(what):
            checks.append(Check(what).run(function))
            write(out, name, checks)

    run(KERNELS, kernels)
    run(TESTS, partial(tests, clock))
    bench = f"{BENCH}, {engine}"
    with tempfile.TemporaryDirectory() as folder:
        model = Model(options.checkpoint, options.bundle, engine, clock)
        if model.bundle is None and any(map(is_wanted, (bench, *FIGURES))):
            made: list[Model] = []
            checks.append(Check("the model").run(lambda check: made.append(model.exported(Path(folder), check))))
            model = made[0] if made else model
        run(bench, model.bench)
        for what, function in zip(
            FIGURES, (model.busy, model.rivals, model.end_to_end, partial(model.stress, options.stress)), strict=True
        ):
            run(what, function)
    unmeasured = [aim for aim in AIMS if not any(aim in check.figures for check in checks)]
    if unmeasured:
        checks.append(Check("aims without a figure", "not run", unmeasured))
        write(out, name, checks)
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
