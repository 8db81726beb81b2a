"""The embedded model's image tower: MobileNetV4 beside natural scene statistics, as a timm model for open_clip.

Statistics of locally normalised pixels tell how far a photo is from an undistorted one (BRISQUE, Mittal et al., 2012;
in several color channels: FRIQUEE, Ghadiyaram & Bovik, 2017). Few photos suffice to learn from them.
"""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from timm.models import register_model
from torch import Tensor, nn

WINDOW, SIGMA = 7, 7 / 6  # of the local mean and deviation
GRID = 8  # of JPEG's blocks
CENTRE = 160  # side of the square that statistics are read off: nearly as telling as the whole view, at half the cost
OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))  # luma, red-green, yellow-blue


class SceneStatistics(nn.Module):
    """Normalised pixels (N, 3, H, W) -> (N, COUNT), read off the central square. It has no parameters."""

    COUNT = 4 * 13 + 2

    def __init__(self) -> None:
        super().__init__()
        std, mean = (torch.tensor(values) * 255 for values in (OPENAI_DATASET_STD, OPENAI_DATASET_MEAN))
        mix = torch.tensor(OPPONENT)
        self.register_buffer("mix", mix * std, persistent=False)  # (3, 3)
        self.register_buffer("offset", (mix @ mean)[:, None], persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        top, left = (max(0, side - CENTRE) // 2 for side in x.shape[2:])
        x = x[:, :, top : top + CENTRE, left : left + CENTRE]
        luma = (self.mix[:1] @ x.flatten(2) + self.offset[:1]).unflatten(2, x.shape[2:])  # (N, 1, H, W) in [0, 255]
        half = F.avg_pool2d(x, 2)
        halves = (self.mix @ half.flatten(2) + self.offset).reshape(-1, 1, *half.shape[2:])  # (3N, 1, H/2, W/2)
        fine, coarse = (_statistics(*_normalise(plane)) for plane in (luma, halves))
        grid = torch.stack([_blockiness(luma[:, 0]), _blockiness(luma[:, 0].transpose(1, 2))], 1)
        return torch.cat([fine, coarse.unflatten(0, (-1, len(OPPONENT))).flatten(1), grid], 1)


def _normalise(plane: Tensor) -> tuple[Tensor, Tensor]:
    """MSCN coefficients and the logarithm of the local deviation of plane (N, 1, H, W), of the same shape."""
    centred = plane - plane.mean((2, 3), keepdim=True)  # a variance of small numbers loses no digits
    mean, square = _smooth(centred), _smooth(centred * centred)
    deviation = (square - mean * mean).clamp_min(0).sqrt() + 1
    return (centred - mean) / deviation, deviation.log()


def _smooth(plane: Tensor) -> Tensor:
    """Gaussian means over plane (N, 1, H, W), of the same shape: banded matrices are faster here than convolution."""
    height, width = plane.shape[2:]
    return _band(height, plane.device) @ (plane @ _band(width, plane.device).T)


def _band(side: int, device: torch.device) -> Tensor:
    """(side, side): each row holds the weights of one mean, renormalised at the borders."""
    place = torch.arange(side, dtype=torch.float32, device=device)
    distance = place[:, None] - place
    weights = torch.exp(-(distance**2) / (2 * SIGMA**2)) * (distance.abs() <= WINDOW // 2)
    return weights / weights.sum(1, keepdim=True)


def _statistics(mscn: Tensor, deviation: Tensor) -> Tensor:
    """(N, 1, H, W) twice -> (N, 13): shape of the coefficients, of products of neighbours, and local deviation."""
    z, local = mscn.squeeze(1), deviation.squeeze(1)
    squares = z * z
    power, magnitude = squares.mean((1, 2)) + 1e-4, z.abs().mean((1, 2)) + 1e-2
    skew = (squares * z).mean((1, 2)) / power**1.5
    kurtosis = (squares * squares).mean((1, 2)).clamp_min(1e-8).log() - 2 * power.log()
    found = [power.log(), magnitude.log(), skew, kurtosis]
    for product in (z[:, :, :-1] * z[:, :, 1:], z[:, :-1] * z[:, 1:], z[:, :-1, :-1] * z[:, 1:, 1:]):
        found += [product.mean((1, 2)), (product.abs().mean((1, 2)) + 1e-3).log()]
    mean = local.mean((1, 2))
    spread = ((local * local).mean((1, 2)) - mean * mean).clamp_min(1e-4).sqrt()
    return torch.stack([*found, mean, spread, local.amin((1, 2))], 1)


def _blockiness(luma: Tensor) -> Tensor:
    """(N, H, W) -> (N,): how far steps between columns stand out at one phase of an 8-pixel grid, on a log scale."""
    steps = (luma[:, :, 1:] - luma[:, :, :-1]).abs().clamp_max(32).mean(1)  # (N, W-1)
    whole = steps.shape[1] // GRID * GRID
    phases = steps[:, :whole].unflatten(1, (-1, GRID)).mean(1)  # (N, 8)
    return ((phases.amax(1) + 0.1) / (phases.mean(1) + 0.1)).log()


class ScenicMobileNet(nn.Module):
    """(N, 3, H, W) -> (N, num_classes): MobileNetV4's features, their mean and deviation, beside scene statistics."""

    def __init__(self, num_classes: int, hidden: int = 128) -> None:
        super().__init__()
        self.scene = SceneStatistics()
        self.trunk = timm.create_model("mobilenetv4_conv_small", num_classes=0, global_pool="")
        self.trunk.conv_head, self.trunk.norm_head = nn.Identity(), nn.Identity()
        width = self.trunk.num_features
        self.statistics = nn.Sequential(
            nn.BatchNorm1d(SceneStatistics.COUNT), nn.Linear(SceneStatistics.COUNT, hidden), nn.GELU()
        )
        self.norm = nn.BatchNorm1d(2 * width)
        self.head = nn.Linear(2 * width + hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.trunk.forward_features(x).flatten(2)  # (N, 960, HW)
        mean = maps.mean(2)
        deviation = ((maps - mean[..., None]).square().mean(2) + 1e-5).sqrt()
        return self.head(torch.cat([self.norm(torch.cat([mean, deviation], 1)), self.statistics(self.scene(x))], 1))


@register_model
def scenic_mobilenetv4_small(pretrained: bool = False, num_classes: int = 256, **kwargs: object) -> ScenicMobileNet:
    """timm's factory; open_clip passes the embedding's width as `num_classes`. There are no pretrained weights."""
    return ScenicMobileNet(num_classes)
