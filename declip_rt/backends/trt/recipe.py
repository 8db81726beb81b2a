"""A recipe: how a TensorRT plan is built from a bundle's graph."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from declip_rt.backends.contract import EngineOptions
from declip_rt.disk import read_toml
from declip_rt.errors import ConfigError, EngineError
from declip_rt.model.bundle import Bundle

Batch = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Reach = Literal["ampere_plus", "same_capability"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings in `engines/*.toml`."""

    library: Literal["tensorrt", "tensorrt_rtx"] = "tensorrt"
    graph: Literal["fp32", "fp16", "fp8"] = "fp16"
    batches: Annotated[tuple[Batch, ...], msgspec.Meta(min_length=1)] = (1, 8, 32)  # an optimisation profile for each
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None  # of TensorRT; None is its default
    workspace_mb: Annotated[int, msgspec.Meta(ge=1)] | None = None  # the most scratch memory; None is all of the GPU's
    max_aux_streams: Annotated[int, msgspec.Meta(ge=0)] | None = None  # beside a lane's own; None is TensorRT's choice
    tf32: bool = False  # FP32 products round their inputs to 10 bits of mantissa
    hardware_compatible: bool | Reach = False  # on which other GPUs the plan runs, but slower; true: from Ampere on
    version_compatible: bool = False  # the plan runs under later versions of TensorRT, by the lean runtime of its own
    stripped: bool = False  # the plan has no weights; the bundle's graph gives them when it is loaded

    def __post_init__(self) -> None:
        if self.hardware_compatible is True:
            msgspec.structs.force_setattr(self, "hardware_compatible", "ampere_plus")

    @property
    def travels(self) -> bool:
        """Whether the plan is for other GPUs or versions, too, and so for any driver."""
        return bool(self.hardware_compatible) or self.version_compatible

    @staticmethod
    def find(named: str | os.PathLike[str]) -> Recipe:
        """The recipe in a file, or a recipe that ships (`shipped`). Raises ConfigError where there is neither."""
        if str(named) in shipped() and not Path(named).exists():
            return Recipe.read(_folder() / f"{named}.toml")
        if not Path(named).exists():
            raise ConfigError(f"there is no recipe {named}: give a TOML file, or one of {', '.join(shipped())}")
        return Recipe.read(Path(named))

    @staticmethod
    def read(path: Path) -> Recipe:
        """Raises ConfigError where the file cannot be read, has an unknown key, or a value that is not allowed."""
        recipe = read_toml(path, Recipe)
        asked = [name for name in ("hardware_compatible", "version_compatible", "stripped") if getattr(recipe, name)]
        if asked and recipe.library != "tensorrt":
            remedy = f"build plans of {recipe.library} ahead of time"
            raise ConfigError(f"cannot use {path}: {asked[0]} is for tensorrt; {remedy}")
        if recipe.stripped and recipe.version_compatible:
            raise ConfigError(
                f"cannot use {path}: the lean runtime of another version gives a plan no weights; "
                "leave out stripped or version_compatible"
            )
        return recipe


def shipped() -> list[str]:
    """The names of the recipes that ship."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    """The folder engines/. A wheel has it in the package, a checkout beside it."""
    package = Path(__file__).parents[2]
    return next(folder / "engines" for folder in (package, package.parent) if (folder / "engines").is_dir())


def default_recipe() -> Recipe:
    """The installed library's recipe; TensorRT's where both libraries are installed, or none."""
    alone = importlib.util.find_spec("tensorrt_rtx") and not importlib.util.find_spec("tensorrt")
    return Recipe(library="tensorrt_rtx" if alone else "tensorrt")


def recipe_for(bundle: Bundle, options: EngineOptions) -> Recipe:
    """The recipe. Raises ConfigError where it cannot do what is asked, EngineError where TensorRT cannot."""
    precision = options.precision
    if precision in ("bf16", "int8"):
        raise EngineError(f'{precision} is for CPUs; choose `device="auto"`, or leave `precision` out')
    if options.recipe is not None:
        recipe = Recipe.find(options.recipe)
        if precision not in ("auto", recipe.graph):
            raise ConfigError(f'the recipe builds the {recipe.graph} graph; leave `precision="{precision}"` out')
        if options.batch and options.batch > max(recipe.batches):
            raise ConfigError(
                f"the recipe's largest batch is {max(recipe.batches)}; "
                f"choose such a `batch`, or add {options.batch} to it"
            )
        return recipe
    graph = precision if precision != "auto" else "fp16" if "fp16" in bundle.manifest.graphs else "fp32"
    chosen = replace(default_recipe(), graph=graph)
    return replace(chosen, batches=tuple(sorted({*chosen.batches, options.gpu_batch})))
