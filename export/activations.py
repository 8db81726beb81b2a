"""What a graph computes between its inputs and its outputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from declip_rt.model.manifest import INPUT


def activations(graph: Path, names: Iterable[str], pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The activations of these names, for `pixels` (N, V, S, S, 3)."""
    model, wanted = onnx.load(graph), sorted(set(names))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(wanted, {INPUT: pixels}), strict=True))
