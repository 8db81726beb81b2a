"""torch, as a rival of declip-rt: the checkpoint that a bundle was exported from, behind the same lanes.

It is imported only when a rival is opened, so that it does not count as declip-rt's memory.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from declip_rt.backends.contract import Engine, Lane, Outputs
from declip_rt.bench import rivals
from declip_rt.bench.rivals import HostLane, Pixels, Rival, Task
from declip_rt.errors import ConfigError, EngineError, Unavailable
from declip_rt.model.manifest import File

logger = logging.getLogger(__name__)
Forward = Callable[[Any], Sequence[Any]]  # of torch tensors


@dataclass(frozen=True)
class TorchRival:
    """Opens the checkpoint's module: in FP32 on a CPU, else with its tower in FP16 where that scores alike."""

    name: str  # in --against
    checkpoint: Path | None
    compiled: bool = False

    def check(self) -> None:
        """Raises ConfigError."""
        if importlib.util.find_spec("torch") is None:
            raise ConfigError(f"--against {self.name} needs torch, which is not installed; or leave {self.name} out")
        if self.checkpoint is None:
            raise ConfigError(
                f"--against {self.name} needs --checkpoint: the declip.pt that the bundle was exported from"
            )
        if not self.checkpoint.is_file():
            raise ConfigError(f"--checkpoint {self.checkpoint}: there is no such file")

    def open(self, task: Task) -> Engine:
        """Raises ConfigError, EngineError, Unavailable."""
        assert self.checkpoint is not None
        try:
            import torch

            import train.model  # noqa: F401  # needs more than torch
        except ImportError as error:
            raise Unavailable(f'torch cannot be used ({error}); pip install "declip-rt[train]"') from error
        on_gpu = task.where != "cpu"
        if File.of(self.checkpoint).sha256 != task.bundle.manifest.checkpoint_sha256:
            raise ConfigError(
                f"--checkpoint {self.checkpoint} is not the one that {task.bundle.name} was exported from"
            )
        if on_gpu and not torch.cuda.is_available():
            version = torch.__version__
            raise EngineError(f"torch {version} finds no CUDA; install a build that has it, or leave torch out")
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        if on_gpu and task.half:
            forward, precision = in_half(task, self.checkpoint)
        else:
            forward, precision = module(self.checkpoint, task.where), "fp32"
        if self.compiled:
            torch.compiler.reset()  # it gives up on a function that it has compiled for many batches
            forward = torch.compile(forward, dynamic=False, mode="reduce-overhead" if on_gpu else "default")
        lanes: list[Lane] = [on_host(task, forward)]
        if on_gpu:
            lanes = [TorchLane(task, forward) for _ in range(2)]  # one is launched while the other computes
        name = f"torch {torch.__version__}{' compiled' if self.compiled else ''}"
        return Rival(task, name, precision, lanes)


class TorchLane(HostLane):
    """A batch in pinned memory; what is launched on the GPU goes on while the next is launched."""

    def __init__(self, task: Task, forward: Forward) -> None:
        import torch

        self._torch = torch
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


def module(checkpoint: Path, where: str) -> Forward:
    """The checkpoint's module: uint8 pixels -> scores, perceptual, semantic; torch tensors on the device `where`."""
    import torch

    from train.model import load

    model = load(checkpoint)[1].eval().to(where)
    visual = model.clip.visual
    for name in ("image_mean", "image_std"):  # else each call copies them from the host, and waits for it
        setattr(visual, name, torch.tensor(getattr(visual, name), device=where))
    warnings.filterwarnings("ignore", "To copy construct from a tensor")
    return model


def in_half(task: Task, checkpoint: Path) -> tuple[Forward, str]:
    """The module with its image tower in FP16, or in FP32 where FP16 changes scores; and its precision."""
    model = module(checkpoint, task.where)
    trial = Rival(task, "torch with a tower in FP16", "fp16", [on_host(task, model)])
    expected = rivals.scores(trial, task.bundle.views)
    tower = model.clip.visual.half()  # type: ignore[attr-defined]
    tower.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
    tower.register_forward_hook(lambda _, __, feature: feature.float())
    try:
        rivals.compare(trial, expected, "fp32", task.bundle.views)
    except EngineError as error:
        logger.warning("torch runs in FP32: %s", error)
        return module(checkpoint, task.where), "fp32"
    return model, "fp16"


def on_host(task: Task, forward: Forward) -> HostLane:
    """A lane that waits for each batch."""
    import torch

    def compute(pixels: Pixels) -> Sequence[Any]:
        with torch.inference_mode():
            return [each.cpu().numpy() for each in forward(torch.from_numpy(pixels).to(task.where))]

    return HostLane(np.zeros(task.shape, np.uint8), compute)
