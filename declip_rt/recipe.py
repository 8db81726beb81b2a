"""A recipe: how a TensorRT plan is built from a bundle's graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from declip_rt.errors import ConfigError

Batch = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `engines/*.toml` say."""

    library: Literal["tensorrt", "tensorrt_rtx"] = "tensorrt"
    graph: Literal["fp32", "fp16"] = "fp16"
    batches: Annotated[tuple[Batch, ...], msgspec.Meta(min_length=1)] = (1, 8, 32)  # an optimisation profile for each
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None  # of TensorRT; None is its default
    workspace_mb: Annotated[int, msgspec.Meta(ge=1)] | None = None  # the most scratch memory; None is the GPU's
    hardware_compatible: bool = False  # for all GPUs from Ampere on, not the one at hand; slower

    @staticmethod
    def read(path: Path) -> Recipe:
        """Raises ConfigError where the file cannot be read, has an unknown key, or a value that is not allowed."""
        try:
            recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"cannot use {path}: {error}") from error
        if recipe.hardware_compatible and recipe.library != "tensorrt":
            raise ConfigError(f"cannot use {path}: hardware_compatible is for tensorrt; {recipe.library} has --for")
        return recipe
