"""What one would run instead of declip-rt, behind the same lanes, so that it is measured in the same way.

This is the one place that imports torch, and only when asked to.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends import parity
from declip_rt.backends.contract import Device, Engine, EngineInfo, Floats, Kind, Lane, Outputs
from declip_rt.backends.onnxrt.session import CPU, CUDA, has_cuda, open_session, runtime_module, session_options
from declip_rt.errors import ConfigError, DeclipError, EngineError, ImageError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import INPUT, LIMITS, OUTPUTS, File, ViewSpec

NEEDED = {"torch": "torch", "torch-compile": "torch", "ort": "onnxruntime"}  # rival: its module
logger = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]  # (N, V, S, S, 3)
Forward = Callable[[Any], Sequence[Any]]  # of torch tensors


def check(names: Sequence[str], checkpoint: Path | None) -> None:
    """Raises ConfigError where one of the rivals cannot be opened."""
    for name in names:
        if name not in NEEDED:
            raise ConfigError(f"--against knows no {name!r}; choose from {', '.join(NEEDED)}")
        if importlib.util.find_spec(NEEDED[name]) is None:
            raise ConfigError(f"--against {name} needs {NEEDED[name]}, which is not installed; or leave {name} out")
        if NEEDED[name] == "torch":
            _check_torch(name, checkpoint)


def _check_torch(name: str, checkpoint: Path | None) -> None:
    if checkpoint is None:
        raise ConfigError(f"--against {name} needs --checkpoint: the declip.pt that the bundle was exported from")
    if not checkpoint.is_file():
        raise ConfigError(f"--checkpoint {checkpoint}: there is no such file")
    if importlib.util.find_spec("train") is None:
        raise ConfigError(
            f"--against {name} loads the checkpoint by the package `train`, which is not installed with declip-rt: "
            "run `python -m declip_rt bench` in the root of its repository"
        )


@dataclass(frozen=True)
class Task:
    """What a rival is to do.

    device: cpu, or else a GPU. half: whether torch may use FP16 on it. threads: on a CPU; None is the rival's default.
    """

    bundle: Bundle
    device: Device
    batch: int
    precision: str  # of the graph that declip-rt runs
    half: bool = True
    threads: int | None = None
    checkpoint: Path | None = None

    @property
    def where(self) -> str:
        return "cpu" if self.device.kind == "cpu" else f"cuda:{self.device.index}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, *self.bundle.views.shape)


def open_rival(name: str, task: Task) -> Engine:
    """One of NEEDED, with default settings.

    ort: an InferenceSession of the bundle's graph of this precision. torch: the checkpoint's module, in FP32 on a CPU,
    else its tower in FP16 where that scores alike. torch-compile: the same, compiled.

    Raises:
        EngineError: it cannot be opened.
        ConfigError: the checkpoint is not the one that the bundle was exported from.
    """
    return _ort(task) if name == "ort" else _torch(task, compiled=name == "torch-compile")


def scores(engine: Engine, views: ViewSpec) -> Floats:
    """Of pictures, the same every time: a whole batch (batch, K)."""
    pictures, lane = parity.pictures(views), engine.lanes[0]
    for i in range(engine.info.batch):
        lane.slot(i)[...] = pictures[i % len(pictures)]
    lane.launch(engine.info.batch)
    return lane.result().scores


def compare(rival: Engine, ours: Floats, precision: str, views: ViewSpec) -> float:
    """The largest difference of the rival's scores from `ours`, computed in `precision`.

    Raises EngineError where it is so large that the rival computes something else.
    """
    difference = float(np.abs(scores(rival, views) - ours).max())
    most = max(map(_limit, (precision, rival.info.precision)))
    if not difference <= most:  # which NaN is not
        raise EngineError(
            f"{rival.info} is not measured: its scores differ from declip-rt's by {difference:.2g}, at most {most:g}"
        )
    return difference


def _limit(precision: str) -> float:
    """How far scores of a precision may be from others."""
    return parity.BATCH_EFFECT if precision == "fp32" else LIMITS[precision].change


class Rival:
    """An engine of some other maker."""

    def __init__(self, task: Task, name: str, precision: str, lanes: Sequence[Lane]) -> None:
        kind: Kind = "cpu" if task.device.kind == "cpu" else "cuda"
        index = None if kind == "cpu" else task.device.index
        self.info = EngineInfo(kind, index, name, precision, task.batch, len(lanes))
        self.lanes: Sequence[Lane] = lanes

    @property
    def is_closed(self) -> bool:
        return not self.lanes

    def close(self) -> None:
        self.lanes = ()


class HostLane:
    """A batch in plain memory, given to a function that returns when it is computed."""

    def __init__(self, buffer: Pixels, compute: Callable[[Pixels], Sequence[Any]]) -> None:
        self._buffer, self._compute = buffer, compute
        self._found: Sequence[Any] = ()

    def slot(self, i: int) -> Pixels:
        slot: Pixels = self._buffer[i]
        return slot

    def put(self, i: int, frame: object) -> tuple[int, int]:
        raise ImageError("a rival takes no frames")

    def launch(self, n: int) -> None:
        try:
            self._found = self._compute(self._buffer[:n])
        except DeclipError:
            raise
        except Exception as error:  # of any kind, from torch's compiler above all
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(f"the rival failed: {why}") from error

    def result(self) -> Outputs:
        return Outputs(*map(np.array, self._found))


class TorchLane(HostLane):
    """A batch in pinned memory; what is launched on the GPU goes on while the next is launched."""

    def __init__(self, task: Task, forward: Forward) -> None:
        torch = self._torch = _import("torch")
        self._where, self._forward = task.where, forward
        self._pinned = torch.empty(task.shape, dtype=torch.uint8, pin_memory=True)
        self._rows: list[Any] = []  # pinned too, of the outputs
        with torch.cuda.device(task.where):
            self._done = torch.cuda.Event()
        super().__init__(self._pinned.numpy(), self._start)

    def _start(self, pixels: Pixels) -> Sequence[Any]:
        torch, n = self._torch, len(pixels)
        with torch.inference_mode(), torch.cuda.device(self._where):
            torch.compiler.cudagraph_mark_step_begin()
            found = self._forward(self._pinned[:n].to(self._where, non_blocking=True))
            self._rows = self._rows or [torch.empty(each.shape, pin_memory=True) for each in found]
            for row, each in zip(self._rows, found, strict=True):
                row[:n].copy_(each, non_blocking=True)
            self._done.record()
        return [row[:n].numpy() for row in self._rows]

    def result(self) -> Outputs:
        self._done.synchronize()
        return super().result()


def _ort(task: Task) -> Engine:
    runtime, on_gpu = runtime_module(), task.where != "cpu"
    if on_gpu and not has_cuda():
        raise EngineError(f'onnxruntime {runtime.__version__} has no CUDA provider: pip install "declip-rt[cuda]"')
    provider: Any = (CUDA, {"device_id": task.device.index}) if on_gpu else CPU
    options = session_options(task.precision, task.threads)
    session = open_session(task.bundle.graph(task.precision), options, provider)
    if on_gpu and CUDA not in session.get_providers():
        raise EngineError("ONNX Runtime could not open CUDA; check that CUDA and cuDNN match onnxruntime-gpu")
    lane = HostLane(np.zeros(task.shape, np.uint8), lambda pixels: session.run(OUTPUTS, {INPUT: pixels}))
    return Rival(task, f"plain ONNX Runtime {runtime.__version__}", task.precision, [lane])


def _torch(task: Task, compiled: bool) -> Engine:
    torch, on_gpu = _import("torch"), task.where != "cpu"
    assert task.checkpoint is not None
    if File.of(task.checkpoint).sha256 != task.bundle.manifest.checkpoint_sha256:
        raise ConfigError(f"--checkpoint {task.checkpoint} is not the one that {task.bundle.name} was exported from")
    if on_gpu and not torch.cuda.is_available():
        raise EngineError(f"torch {torch.__version__} finds no CUDA; install a build that has it, or leave torch out")
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    forward, precision = in_half(task) if on_gpu and task.half else (module(task), "fp32")
    if compiled:
        torch.compiler.reset()  # it gives up on a function that it has compiled for many batches
        forward = torch.compile(forward, dynamic=False, mode="reduce-overhead" if on_gpu else "default")
    lanes: list[Lane] = [on_host(task, forward)]
    if on_gpu:
        lanes = [TorchLane(task, forward) for _ in range(2)]  # one is launched while the other computes
    return Rival(task, f"torch {torch.__version__}{' compiled' if compiled else ''}", precision, lanes)


def module(task: Task) -> Forward:
    """The checkpoint's module: uint8 pixels -> scores, perceptual, semantic; torch tensors on the task's device."""
    torch, model = _import("torch"), _import("train.model").load(task.checkpoint)[1].eval().to(task.where)
    visual = model.clip.visual
    for name in ("image_mean", "image_std"):  # else each call copies them from the host, and waits for it
        setattr(visual, name, torch.tensor(getattr(visual, name), device=task.where))
    warnings.filterwarnings("ignore", "To copy construct from a tensor")
    loaded: Forward = model
    return loaded


def in_half(task: Task) -> tuple[Forward, str]:
    """The same with its image tower in FP16, or as it was where that changes scores; and its precision."""
    model = module(task)
    trial = Rival(task, "torch with a tower in FP16", "fp16", [on_host(task, model)])
    expected = scores(trial, task.bundle.views)
    tower = model.clip.visual.half()  # type: ignore[attr-defined]
    tower.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
    tower.register_forward_hook(lambda _, __, feature: feature.float())
    try:
        compare(trial, expected, "fp32", task.bundle.views)
    except EngineError as error:
        logger.warning("torch runs in FP32: %s", error)
        return module(task), "fp32"
    return model, "fp16"


def on_host(task: Task, forward: Forward) -> HostLane:
    """A lane that waits for each batch."""
    torch = _import("torch")

    def compute(pixels: Pixels) -> Sequence[Any]:
        with torch.inference_mode():
            return [each.cpu().numpy() for each in forward(torch.from_numpy(pixels).to(task.where))]

    return HostLane(np.zeros(task.shape, np.uint8), compute)


def _import(name: str) -> Any:
    """torch, or what needs it. Raises Unavailable."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f'{name} cannot be used ({error}); pip install "declip-rt[train]"') from error
