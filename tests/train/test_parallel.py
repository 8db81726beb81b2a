"""Processes that share a batch find the gradient of the whole."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
import torch.nn.functional as F

from train import parallel
from train.losses import confusion, contrastive

SCALE = torch.tensor(20.0)


def gradient(images: torch.Tensor, texts: torch.Tensor) -> list[torch.Tensor]:
    """Of this process's images (n, 8), against all texts."""
    torch.manual_seed(3)
    projector = torch.nn.Linear(8, 8)
    image = parallel.gather(F.normalize(projector(images), dim=-1))
    loss = contrastive(image, texts, torch.eye(len(texts), dtype=torch.bool), SCALE) + confusion(image, texts, SCALE)
    loss.backward()
    parallel.add_gradients(projector.parameters())
    return [p.grad for p in projector.parameters()]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    return drawn[0], F.normalize(drawn[1], dim=-1)


def join(rank: int, port: int, out: str) -> None:
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    images, texts = data()
    with parallel.processes():
        found = gradient(images[3 * rank : 3 * rank + 3], texts)
        strings = parallel.gather_items([f"of {rank}"] * rank)
        torch.save((parallel.rank(), parallel.world(), found, strings), Path(out) / str(rank))


def test_two_processes_find_the_gradient_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(join, (port, str(tmp_path)), nprocs=2)
    whole = gradient(*data())
    for rank in range(2):
        found = torch.load(tmp_path / str(rank))
        assert found[:2] == (rank, 2)
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole, found[2], strict=True))
        assert found[3] == ["of 1"]


def test_alone_everything_is_its_own() -> None:
    share = torch.ones(2, requires_grad=True)
    assert parallel.gather(share) is share
    assert (parallel.rank(), parallel.world()) == (0, 1)
