"""The towers are the networks that they are made of, with their stages pooled."""

from __future__ import annotations

import timm
import torch

from train import tower
from train.pretrained import classifier


def expected(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Pooled by hand, from timm's network as it is."""
    x = network.bn1(network.conv_stem(x))
    found = []
    for i, stage in enumerate(network.blocks):
        x = stage(x)
        if i:
            found += [x.mean((2, 3)), x.var((2, 3), unbiased=False).add(1e-5).sqrt()]
    return torch.cat([*found, network.bn2(network.conv_head(x)).mean((2, 3))], 1)


@torch.no_grad()
def test_stages_are_those_of_the_network_in_half_precision_weights() -> None:
    network = classifier("efficientnet_lite0")
    made = timm.create_model("efficientnet_lite0_stages", pretrained=True)
    x = torch.rand(2, 3, 96, 96) * 2 - 1
    found, exact = made(x), expected(network, x)
    assert found.shape == (2, made.num_features)
    assert (found - exact).abs().max() < 0.01 * exact.abs().max()
    assert all(torch.equal(p, p.half().float()) for p in made.parameters())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in made.modules())


@torch.no_grad()
def test_features_do_not_depend_on_neighbours_nor_on_the_last_digit() -> None:
    made = timm.create_model("efficientnet_lite0_stages", pretrained=True)
    x = torch.rand(3, 3, 96, 96) * 2 - 1
    x[0] = 0.25  # a flat picture has no deviation to take a root of
    alone, together = made(x[1:2])[0], made(x)[1]
    assert torch.allclose(alone, together, atol=1e-4)
    moved = made(x * (1 + 6e-8))
    assert (moved - made(x)).abs().max() < 1e-3


def test_every_tower_is_known_to_timm() -> None:
    assert all(timm.is_model(name) for name in tower.LOOKS)


@torch.no_grad()
def test_a_transformers_tokens_are_pooled() -> None:
    vit = timm.create_model("test_vit2", num_classes=0, img_size=64).eval()
    made, x = tower.Tokens(vit), torch.randn(2, 3, 64, 64)
    tokens = vit.forward_features(x)
    expected = [tokens[:, 0], tokens[:, 1:].mean(1), tokens[:, 1:].var(1, unbiased=False).add(1e-5).sqrt()]
    assert torch.allclose(made(x), torch.cat(expected, 1), atol=1e-5)
    assert made(x).shape == (2, made.num_features)
