"""How near a graph in lower precision comes to the FP32 one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import spearmanr

from declip_rt.backends.contract import EngineOptions, Outputs
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.backends.openvino.engine import open_compiled
from declip_rt.backends.parity import compare, compute
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Parity
from declip_rt.stats import Stats

MIN_PHOTOS = 50  # fewer prove nothing
BATCH = 8


def measure(bundle: Path, precision: Literal["bf16", "int8"], views: NDArray[np.uint8]) -> Parity:
    """Compares a precision of the bundle with FP32, on views (N, V, S, S, 3) of photos.

    INT8 is computed by ONNX Runtime, bf16 by OpenVINO. Raises EngineError and Unavailable where that cannot be.
    """
    ours, reference = (_outputs(bundle, name, views) for name in (precision, "fp32"))
    return replace(compare(vars(ours), vars(reference)), srcc=lowest_srcc(ours.scores, reference.scores))


def lowest_srcc(ours: NDArray[Any], reference: NDArray[Any]) -> float:
    """The worst head's rank correlation (Spearman) of scores (n, K). 0 where a head gives all images one score."""
    return float(np.nan_to_num([spearmanr(*pair).statistic for pair in zip(ours.T, reference.T, strict=True)]).min())


def _outputs(bundle: Path, precision: Literal["bf16", "int8", "fp32"], views: NDArray[np.uint8]) -> Outputs:
    opened = open_compiled if precision == "bf16" else open_onnx
    options = EngineOptions(device="openvino" if precision == "bf16" else "cpu", precision=precision, batch=BATCH)
    with closing(opened(Bundle(bundle), options, Stats())) as engine:
        return compute(engine, views, BATCH)
