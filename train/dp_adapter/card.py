"""dp_adapter.json as typed data: the DeCLIP and the base that an adapter fits, and its files.

A folder holds `perceptual.safetensors`, `semantic.safetensors`, `dp_adapter.json`, and `tokens.onnx` once exported.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec

from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import File, Positive, Sha256, sha256_of

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

NAME = "dp_adapter.json"
TOKENS = 4  # that diffusers takes from a linear projection, always
BRANCHES = ("perceptual", "semantic")  # in the order in which they are loaded

Strength = Annotated[float, msgspec.Meta(ge=0)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A typed piece of dp_adapter.json."""


class Declip(_Part, frozen=True):
    """The bundle whose features an adapter reads."""

    name: str
    sha256: Sha256  # of its bundle.json
    features: Positive  # D
    normalisation: Literal["l2"] = "l2"  # as the bundle's graph gives them

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        return cls(bundle.name, bundle.hash, bundle.manifest.features)

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]}…, {self.features} numbers a feature)"


class Base(_Part, frozen=True):
    """The diffusion model that an adapter was trained on."""

    name: str
    unet: str  # the class of its UNet
    cross_attention_dim: Positive
    cross_attentions: Positive  # how many it has

    @classmethod
    def of(cls, unet: UNet2DConditionModel, name: str) -> Self:
        """Raises ConfigError where the UNet takes no adapter, or one of another format."""
        width = getattr(unet.config, "cross_attention_dim", None)
        if type(unet).__name__ != "UNet2DConditionModel" or not isinstance(width, int):
            raise ConfigError(
                f"{name} is a {type(unet).__name__} with cross_attention_dim {width}; take a UNet2DConditionModel with "
                "one width, such as those of Stable Diffusion 1.x, 2.x and XL"
            )
        return cls(name, type(unet).__name__, width, len(crossing(unet)))

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.cross_attentions} cross-attentions of cross_attention_dim {self.cross_attention_dim})"
        )


class Branch(_Part, frozen=True):
    """One adapter."""

    weights: File
    scale: Strength = 1.0  # to begin with


class Card(_Part, frozen=True):
    """The contents of dp_adapter.json."""

    schema: Literal[1]
    declip: Declip
    base: Base
    perceptual: Branch
    semantic: Branch
    tokens: File | None = None  # from features to tokens, in ONNX

    @property
    def branches(self) -> tuple[Branch, Branch]:
        """In the order of BRANCHES."""
        return self.perceptual, self.semantic

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a folder, whose files are compared with their hashes.

        Raises ConfigError where one is missing or altered, or dp_adapter.json has a key too many or too few.
        """
        file = folder / NAME
        try:
            card = msgspec.json.decode(file.read_bytes(), type=cls)
            parts = [branch.weights for branch in card.branches] + [card.tokens] * (card.tokens is not None)
            for part in parts:
                if Path(part.file).name != part.file:
                    raise ConfigError(
                        f"{file} names {part.file!r}, which is no file beside it; train the adapter again"
                    )
                if (found := sha256_of(folder / part.file)) != part.sha256:
                    raise ConfigError(
                        f"{folder / part.file} was altered: sha256 is {found[:12]}…, {NAME} says {part.sha256[:12]}…; "
                        "copy or train the adapter again"
                    )
        except OSError as error:
            what = f"cannot read {error.filename}: {error.strerror}"
            raise ConfigError(f"{what}; give a folder that python -m train.dp_adapter wrote") from error
        except msgspec.DecodeError as error:
            raise ConfigError(f"{file}: {error}; this version reads schema 1: train the adapter again") from error
        return card

    def write(self, folder: Path) -> None:
        """Writes the folder's dp_adapter.json. Raises OSError."""
        write_whole(folder / NAME, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def check_base(self, unet: UNet2DConditionModel, name: str) -> None:
        """Raises ConfigError where the adapter does not fit the base that is called `name`."""
        found = Base.of(unet, name)
        if msgspec.structs.replace(found, name=self.base.name) != self.base:
            raise ConfigError(
                f"the adapter was trained on {self.base} and does not fit {found}; "
                "give a base of that kind, or train an adapter on this one"
            )

    def check_declip(self, found: Declip) -> None:
        """Raises ConfigError where features come from another bundle than the adapter's."""
        if found != self.declip:
            raise ConfigError(
                f"the adapter reads features of {self.declip}, not of {found}; "
                "give that bundle, or train an adapter on this one"
            )


def crossing(unet: UNet2DConditionModel) -> list[str]:
    """The names of the processors of its cross-attentions, in the order in which an adapter's file numbers them."""
    return [name for name in unet.attn_processors if not name.endswith("attn1.processor")]


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `folder` once it is whole.

    A run that is killed in between leaves the older one beside it, as FOLDER.old.
    Raises ConfigError where there is something else than an adapter in `folder`, and OSError.
    """
    if folder.exists() and not (folder / NAME).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is no adapter's folder; give a new one")
    partial, old = (folder.with_name(f"{folder.name}.{what}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
