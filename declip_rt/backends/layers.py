"""What an engine's layers are, and how long each takes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from declip_rt.errors import EngineError


class Layer(msgspec.Struct, frozen=True):
    """A layer, as its engine names it. What the engine does not tell is empty.

    kernel: TensorRT's tactic. format: of what the layer gives. ms: of a batch. share: of all layers, from 0 to 1.
    """

    name: str
    type: str = ""
    kernel: str = ""
    format: str = ""
    ms: float = 0.0
    share: float = 0.0


class Layers(msgspec.Struct, frozen=True):
    """All layers, the slowest first. ms: of a batch of `batch` images through all of them; means of `runs` batches."""

    engine: str  # in words
    batch: int
    runs: int
    ms: float
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, engine: str, batch: int, runs: int, totals: Mapping[str, float], known: Mapping[str, Layer]) -> Layers:
        """totals: the ms of each layer in all runs. known: what else is known of it. Raises EngineError without any."""
        whole = sum(totals.values())
        if not whole:
            raise EngineError(f"{engine} does not tell how long its layers take")
        layers = [
            msgspec.structs.replace(known.get(name, Layer(name)), ms=total / runs, share=total / whole)
            for name, total in totals.items()
        ]
        layers.sort(key=lambda layer: -layer.ms)
        return cls(engine, batch, runs, whole / runs, tuple(layers))
