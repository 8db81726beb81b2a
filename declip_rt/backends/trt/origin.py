"""The origin of a plan, which gives its key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from declip_rt.backends.cuda import devices
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.trt.library import library
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model.bundle import Bundle


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan depends on. What it does not depend on is empty."""

    graph_sha256: str
    recipe: Recipe
    version: str  # of the library
    gpu: str = ""  # its name; empty where the plan is built ahead of time
    capability: str = ""
    driver: str = ""
    targets: tuple[str, ...] = ()

    @classmethod
    def of(cls, bundle: Bundle, recipe: Recipe, targets: Sequence[str] = (), context: Context | None = None) -> Origin:
        """The origin of the bundle's plan for the GPU of `context`, or ahead of time for `targets`.

        TensorRT for RTX builds for a compute capability: its plan for the GPU that is here is the one built ahead for
        it. Raises EngineError where the library is not installed, BundleError where the bundle has no such graph.
        """
        bundle.graph(recipe.graph)
        made = cls(
            graph_sha256=bundle.manifest.graphs[recipe.graph].sha256,
            recipe=recipe,
            version=library(recipe).__version__,
            targets=tuple(targets),
        )
        if context is None:
            return made
        if recipe.library == "tensorrt_rtx":
            return replace(made, targets=(context.target,))
        if recipe.hardware_compatible == "ampere_plus":
            return replace(made, capability="8.0 and newer")
        if recipe.hardware_compatible:
            return replace(made, capability=context.capability)
        driver = "" if recipe.travels else _driver()
        return replace(made, gpu=context.name, capability=context.capability, driver=driver)

    def place(self, context: Context) -> str:
        """Where a proof of the plan holds. Empty for a plan that does not travel: its key or its kernels tell."""
        if not self.recipe.travels:
            return ""
        return f"{context.name}, driver {_driver()}, TensorRT {library(self.recipe).__version__}"

    @property
    def key(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def _driver() -> str:
    return next((each.driver for each in devices.list_devices()), "")
