"""Image towers whose stages are pooled: what a network's middle layers know of a photo's quality is kept.

Means and deviations over a stage's map tell distortions that the last layer has learned to overlook. The networks are
pretrained (pretrained.py). As timm models, open_clip takes them by name.
"""

from __future__ import annotations

import timm
import torch
from timm.layers import BatchNormAct2d
from timm.models import register_model
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from train import dinov2, pretrained
from train.pretrained import classifier

EPSILON = 1e-5  # of a variance, so that its root has a slope


class Stages(nn.Module):
    """(N, 3, H, W) -> (N, num_features): mean and deviation of each stage's map, and the mean of the last layer's.

    The network is an EfficientNet of timm. Batch normalisation is folded into the convolutions.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.blocks = network.blocks
        self.last = nn.Sequential(network.conv_head, network.bn2)
        widths = [stage.out_channels for stage in _last_convolutions(self.blocks[1:])]
        self.num_features = 2 * sum(widths) + network.num_features
        self.default_cfg = {"pool_size": None}  # open_clip asks whether there is a map left to pool

    def reset_classifier(self, num_classes: int, global_pool: str = "") -> None:
        """There is none: open_clip puts its projection behind the tower."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](self.stem(x))
        found = []
        for stage in self.blocks[1:]:
            x = stage(x)
            found += _moments(x)
        return torch.cat([*found, self.last(x).mean((2, 3))], 1)


def _last_convolutions(stages: nn.ModuleList) -> list[nn.Conv2d]:
    return [[part for part in stage.modules() if isinstance(part, nn.Conv2d)][-1] for stage in stages]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, C) of x (N, C, H, W), in two passes: a difference of squares would lose digits."""
    mean = x.mean((2, 3), keepdim=True)
    return mean.flatten(1), ((x - mean).square().mean((2, 3)) + EPSILON).sqrt()


def round_to_half(module: nn.Module) -> nn.Module:
    """Rounds the weights to what FP16 holds, in place: a bundle then stores them in half the room, exactly."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
    return module


def _fold(module: nn.Module) -> None:
    """Folds each batch normalisation into the convolution before it; its activation stays."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, BatchNormAct2d) and before and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Sequential(child.drop, child.act))
        else:
            _fold(child)
        before = name, child


def _stages(name: str, pretrained: bool) -> Stages:
    stages = Stages(classifier(name, pretrained)).eval()
    _fold(stages)
    return round_to_half(stages)


@register_model
def efficientnet_lite0_stages(pretrained: bool = False, **options: object) -> Stages:
    """EfficientNet-Lite 0 (Apache-2.0, ImageNet-1k): 4.7 M parameters, 0.4 GFLOP at 224."""
    return _stages("efficientnet_lite0", pretrained)


@register_model
def efficientnet_lite2_stages(pretrained: bool = False, **options: object) -> Stages:
    """EfficientNet-Lite 2 (Apache-2.0, ImageNet-1k): 6.1 M parameters."""
    return _stages("efficientnet_lite2", pretrained)


class Tokens(nn.Module):
    """(N, 3, 224, 224) -> (N, num_features): a vision transformer's class token, mean and deviation of its patches."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.num_features = 3 * network.num_features
        self.default_cfg = {"pool_size": None}

    def reset_classifier(self, num_classes: int, global_pool: str = "") -> None:
        """There is none, as in Stages."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.network.forward_features(x)  # (N, 1 + patches, W)
        patches = tokens[:, 1:].transpose(1, 2)
        return torch.cat([tokens[:, 0], *_moments(patches[..., None])], 1)


@register_model
def dinov2_small_tokens(pretrained: bool = False, **options: object) -> Tokens:
    """DINOv2 ViT-S/14 (Apache-2.0): 21 M parameters."""
    return Tokens(round_to_half(timm.create_model("packaged_dinov2_small", pretrained=pretrained).eval()))


LOOKS = {  # tower: mean and standard deviation that its pixels are normalised by
    efficientnet_lite0_stages.__name__: (pretrained.MEAN, pretrained.STD),
    efficientnet_lite2_stages.__name__: (pretrained.MEAN, pretrained.STD),
    dinov2_small_tokens.__name__: (dinov2.MEAN, dinov2.STD),
}
