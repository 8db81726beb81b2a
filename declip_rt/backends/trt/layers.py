"""The layers of a TensorRT plan, as its inspector and its profiler tell."""

from __future__ import annotations

import json
from collections import defaultdict
from types import ModuleType
from typing import Any

from declip_rt.backends.layers import Layer


class LayerWatch:
    """Is told how long each layer takes, by contexts that then wait for their batches.

    totals: the ms of each layer in all batches; a caller may clear it. known: what the plan says of each layer.
    """

    def __init__(self) -> None:
        self.totals: defaultdict[str, float] = defaultdict(float)
        self.known: dict[str, Layer] = {}
        self._profilers: list[Any] = []  # which contexts only point to

    def attach(self, trt: ModuleType, engine: Any, context: Any) -> None:
        """context: of the engine, with its shapes set."""
        self._profilers.append(_profiler(trt, self.totals))
        context.profiler = self._profilers[-1]
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context
        self.known |= read_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def read_layers(information: str) -> dict[str, Layer]:
    """The layers by their names, from what an inspector says in JSON.

    Those of a plan that was built without details have names alone. Versions differ in how they tell a format.
    """
    layers = map(_layer, json.loads(information, strict=False)["Layers"])
    return {layer.name: layer for layer in layers}


def _layer(told: str | dict[str, Any]) -> Layer:
    if isinstance(told, str):
        return Layer(told)
    gives: dict[str, Any] = next(iter(told.get("Outputs", ())), {})
    parts = (gives.get(key) for key in ("Format/Datatype", "Datatype", "DataType", "Format"))
    kernel = told.get("TacticName") or told.get("TacticValue", "")
    return Layer(told["Name"], told.get("LayerType", ""), kernel, " ".join(filter(None, parts)))


def _profiler(trt: ModuleType, totals: dict[str, float]) -> Any:
    class Profiler(trt.IProfiler):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            totals[layer_name] += ms

    return Profiler()
