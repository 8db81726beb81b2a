"""The training loop of stages 1 and 2: AdamW with warm-up and cosine, mixed precision, averaged weights, checkpoints.

A run that was stopped goes on from its last checkpoint, and on the CPU ends with the very weights of an unbroken one:
batches are pure functions of their number, and the checkpoint holds all other state.
"""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from train import parallel
from train.config import LoopConfig

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is trained, on what, for what."""

    name: str  # the stage's section of the TOML, which names its log lines and scalars too
    checkpoint: Path
    model: nn.Module  # its parameters that require gradients are trained
    batches: Callable[[], Dataset[Any]]  # item i, from 0 to steps * accumulate, is a pure function of i
    images: int  # a batch
    losses: Callable[[Any], dict[str, Tensor]]  # of one batch, by name
    weights: dict[str, float]  # of the losses
    key: str  # names the settings and data: a checkpoint of another key is refused
    seed: int
    settle: Callable[[], None] = lambda: None  # called after each step
    report: Callable[[], str] = lambda: ""  # called after each checkpoint, with the averaged weights in the model


def fit(stage: Stage, config: LoopConfig) -> None:
    """Trains `stage.model` in place, ends with its averaged weights on the CPU, and keeps a checkpoint.

    Scalars go to `tensorboard/NAME` beside it, a line every `config.log_every` steps to the log `train.NAME`.

    Raises:
        ConfigError: a loss or gradient is not finite, or the checkpoint is another run's.
    """
    _Run(stage, config).go()


def key(config: LoopConfig, *others: object) -> str:
    """Names a run by all that its weights depend on."""
    same = msgspec.structs.replace(config, workers=0, log_every=1, save_every=1)
    return hashlib.sha256(msgspec.json.encode((same, *others))).hexdigest()


def keep_log(out: Path) -> None:
    """Sends the log of `train` to stderr and to `out/log.txt`, from the first process alone."""
    out.mkdir(parents=True, exist_ok=True)
    if parallel.rank() == 0:
        handlers = [logging.StreamHandler(), logging.FileHandler(out / "log.txt")]
        logging.basicConfig(format="%(asctime)s %(name)s %(message)s", handlers=handlers)
        logging.getLogger("train").setLevel(logging.INFO)
    else:
        logging.getLogger("train").setLevel(logging.ERROR)


class _Run:
    def __init__(self, stage: Stage, config: LoopConfig) -> None:
        self.stage, self.config = stage, config
        self.log = logging.getLogger(f"train.{stage.name}")
        self.device = parallel.device()
        stage.model.to(self.device)
        self.trained = [p for p in stage.model.parameters() if p.requires_grad]
        groups = [{"params": [p for p in self.trained if p.ndim > 1], "weight_decay": config.weight_decay}]
        groups += [{"params": [p for p in self.trained if p.ndim <= 1], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.average = {name: value.clone() for name, value in self.weights().items()}
        self.step = 0
        torch.manual_seed(stage.seed)

    def go(self) -> None:
        if self.stage.checkpoint.is_file():
            self.resume()
        if self.step < self.config.steps:
            where = f"{self.device}, {self.config.precision}, {parallel.world()} process(es)"
            self.log.info("training on %s", where)
            with logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext():
                self.train()
        self.load(self.average)
        self.stage.model.cpu()

    def train(self) -> None:
        first = parallel.rank() == 0
        batches, since, seen = self.batches(), time.monotonic(), 0
        hidden = None if first else True  # None: only where stderr is no terminal
        steps = range(self.step, self.config.steps)
        scalars = str(self.stage.checkpoint.parent / "tensorboard" / self.stage.name)
        with SummaryWriter(scalars, purge_step=self.step) if first else nullcontext() as writer:
            for _ in tqdm(steps, self.stage.name, steps.stop, initial=self.step, disable=hidden):
                parts = self.update([next(batches) for _ in range(self.config.accumulate)])
                seen += self.stage.images * self.config.accumulate * parallel.world()
                if first and self.step % self.config.log_every == 0:
                    self.tell(writer, parts, seen / (time.monotonic() - since))
                    since, seen = time.monotonic(), 0
                if first and (self.step % self.config.save_every == 0 or self.step == steps.stop):
                    self.save()
                    with self.averaged():
                        if line := self.stage.report():
                            self.log.info("step %d: %s", self.step, line)

    def tell(self, writer: SummaryWriter, parts: dict[str, float], rate: float) -> None:
        figures = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
        self.log.info("step %d/%d %s %.0f images/s", self.step, self.config.steps, figures, rate)
        for name, value in {**parts, "lr": self.lr(self.step - 1), "images per second": rate}.items():
            writer.add_scalar(name, value, self.step)

    def batches(self) -> Iterator[Any]:
        each, workers = self.config.accumulate, self.config.workers
        loader = DataLoader(
            self.stage.batches(),
            batch_size=None,
            sampler=range(self.step * each, self.config.steps * each),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its own: the global one's state belongs to the model
        )
        return iter(loader)

    def update(self, batches: list[Any]) -> dict[str, float]:
        """One step of the optimizer. Returns the losses' means over the batches."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        means = dict.fromkeys(self.stage.weights, 0.0)
        for batch in batches:
            with self.autocast():
                parts = self.stage.losses(batch)
            for name, part in parts.items():
                self.check(name, part)
                means[name] += part.item() / len(batches)
            loss = sum(self.stage.weights[name] * part for name, part in parts.items())
            self.scaler.scale(loss / len(batches)).backward()
        parallel.add_gradients(self.trained)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained, self.config.clip_norm)
        if not self.scaler.is_enabled():  # which skips steps whose gradient overflows
            self.check("gradient", norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.stage.settle()
        self.step += 1
        self.follow()
        return means

    def autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.config.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def check(self, name: str, value: Tensor) -> None:
        if not torch.isfinite(value):
            raise ConfigError(
                f"{name} became {value.item()} at step {self.step + 1}; lower {self.stage.name}.lr "
                f'({self.config.lr}), or set {self.stage.name}.precision = "fp32" where it is not'
            )

    def lr(self, step: int) -> float:
        c = self.config
        if step < c.warmup:
            return c.lr * (step + 1) / c.warmup
        return c.lr * (0.5 + 0.5 * math.cos(math.pi * (step - c.warmup) / max(1, c.steps - c.warmup)))

    def weights(self) -> dict[str, Tensor]:
        """What training changes: trained parameters, and buffers such as the statistics of batch normalisation."""
        frozen = {name for name, p in self.stage.model.named_parameters() if not p.requires_grad}
        return {name: value for name, value in self.stage.model.state_dict().items() if name not in frozen}

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the average to the weights; in early steps nearer than `ema` says, which would hold on to the start."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step)) if self.config.ema else 0.0
        for name, value in self.weights().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        own = {name: value.clone() for name, value in self.weights().items()}
        self.load(self.average)
        yield
        self.load(own)

    def load(self, weights: dict[str, Tensor]) -> None:
        self.stage.model.load_state_dict(weights, strict=False)  # the frozen ones stay

    def save(self) -> None:
        state = {
            "key": self.stage.key,
            "step": self.step,
            "weights": self.weights(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        write_whole(self.stage.checkpoint, partial(torch.save, state))

    def resume(self) -> None:
        state = torch.load(self.stage.checkpoint, weights_only=True, map_location="cpu")
        if state.get("key") != self.stage.key:
            raise ConfigError(
                f"{self.stage.checkpoint} was trained with other settings or data; delete it, or give another --out"
            )
        self.load(state["weights"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.step = state["step"]
        self.log.info("resumed at step %d", self.step)
