"""How near a graph in lower precision comes to the FP32 one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import spearmanr

from declip_rt.backends.contract import EngineOptions, Outputs, Precision
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.backends.openvino.engine import open_compiled
from declip_rt.backends.parity import compare, compute
from declip_rt.errors import EngineError, Unavailable
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Parity
from declip_rt.stats import Stats

MIN_PHOTOS = 50  # fewer prove nothing
BATCH = 8


def measure(bundle: Path, precision: Literal["bf16", "int8"], views: NDArray[np.uint8]) -> Parity:
    """Compares a precision of the bundle with FP32, on views (N, V, S, S, 3) of photos.

    INT8 is computed by ONNX Runtime, and by OpenVINO where it can; the worse figures count. bf16 is computed by
    OpenVINO. Raises EngineError and Unavailable where that cannot be.
    """
    reference = _outputs(bundle, "cpu", "fp32", views)
    found: list[Parity] = []
    for device in ("cpu", "openvino") if precision == "int8" else ("openvino",):
        try:
            ours = _outputs(bundle, device, precision, views)
        except (EngineError, Unavailable):
            if not found:
                raise
            continue
        near = compare(vars(ours), vars(reference))
        found.append(replace(near, srcc=lowest_srcc(ours.scores, reference.scores)))
    cosine, srcc = (min(getattr(each, name) for each in found) for name in ("cosine", "srcc"))
    return Parity(len(views), max(each.change for each in found), cosine, srcc)


def lowest_srcc(ours: NDArray[Any], reference: NDArray[Any]) -> float:
    """The worst head's rank correlation (Spearman) of scores (n, K). 0 where a head gives all images one score."""
    return float(np.nan_to_num([spearmanr(*pair).statistic for pair in zip(ours.T, reference.T, strict=True)]).min())


def _outputs(bundle: Path, device: str, precision: Precision, views: NDArray[np.uint8]) -> Outputs:
    opened = open_compiled if device == "openvino" else open_onnx
    options = EngineOptions(device=device, precision=precision, batch=BATCH)
    with closing(opened(Bundle(bundle, verify=False), options, Stats())) as engine:
        return compute(engine, views, BATCH)
