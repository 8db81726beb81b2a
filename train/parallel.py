"""Several processes that train one model, as `torchrun` starts them. A process that was started alone is rank 0 of 1.

Each process computes the loss of the global batch, but differentiates its own share of it alone. The sum of the
processes' gradients is then the gradient of the whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=2)  # for the slowest process: shards of features do not end at the same time


@contextmanager
def processes() -> Iterator[None]:
    """Joins the processes that torchrun started, if it did."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def wait() -> None:
    """Until all processes are here."""
    if world() > 1:
        dist.barrier()


def gather(share: Tensor) -> Tensor:
    """All processes' (N, ...), one after another by rank: (world * N, ...). Gradients flow into this one's share."""
    if world() == 1:
        return share
    shares = [torch.empty_like(share) for _ in range(world())]
    dist.all_gather(shares, share.detach().contiguous())
    shares[rank()] = share
    return torch.cat(shares)


def gather_items(share: list[str]) -> list[str]:
    """All processes' strings."""
    if world() == 1:
        return share
    shares: list[list[str]] = [[] for _ in range(world())]
    dist.all_gather_object(shares, share)
    return [item for part in shares for item in part]


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Gives each process the sum of all gradients; a parameter has one in all processes or in none."""
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
