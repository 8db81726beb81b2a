"""The model as an ONNX graph that keeps the runtime's contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.errors import EngineError
from declip_rt.model.manifest import INPUT, OUTPUTS, ViewSpec
from train.model import Declip

OPSET = 18
TOLERANCE = 1e-4  # largest difference from torch that a score may have


def write_graph(model: Declip, spec: ViewSpec, path: Path) -> float:
    """Writes the FP32 graph and returns its largest score difference from torch, in [0, 1].

    `pixels` uint8 (N, V, S, S, 3) -> `scores` (N, K), `perceptual` (N, D), `semantic` (N, D), float32.

    Raises:
        EngineError: ONNX Runtime's scores differ from torch's by more than TOLERANCE; nothing is written.
    """
    example = torch.from_numpy(pixels(spec, 2))
    program = torch.onnx.export(
        model.eval(),
        (example,),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=({0: torch.export.Dim("N", min=1, max=4096)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # as dynamo is asked for
    proto = program.model_proto
    _cast_first(proto.graph)
    strip_metadata(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    graph = proto.SerializeToString()
    if not (difference := _difference(graph, model, spec)) <= TOLERANCE:  # true of NaN, too
        raise EngineError(f"the graph's scores differ from torch's by {difference:.2e}, more than {TOLERANCE:.0e}")
    path.write_bytes(graph)
    return difference


def _cast_first(graph: onnx.GraphProto) -> None:
    """Makes all nodes that read `pixels` read its Cast, even for the shape. TensorRT takes a uint8 input only so."""
    (cast,) = (node for node in graph.node if node.op_type == "Cast" and INPUT in node.input)
    others = [node for node in graph.node if node is not cast]
    for node in others:
        node.input[:] = [cast.output[0] if name == INPUT else name for name in node.input]
    del graph.node[:]
    graph.node.extend([cast, *others])


def strip_metadata(graph: onnx.GraphProto) -> None:
    """Removes what torch notes of each node: stack traces, with paths of the machine that exports."""
    for each in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del each.metadata_props[:]


@torch.no_grad()
def _difference(graph: bytes, model: Declip, spec: ViewSpec) -> float:
    session = open_session(graph, session_options("fp32"))
    given = pixels(spec, 5)
    given[-1] = 0  # a black photo has no contrast to divide by
    ours = session.run([OUTPUTS[0]], {INPUT: given})[0]
    return float(np.abs(ours - model(torch.from_numpy(given))[0].numpy()).max())


def pixels(spec: ViewSpec, n: int) -> NDArray[np.uint8]:
    """Noise (n, V, S, S, 3) of n different contrasts around n different greys."""
    rng = np.random.default_rng(0)
    level, contrast = rng.uniform(40, 215, (2, n, 1, 1, 1, 1))
    noise = rng.standard_normal((n, *spec.shape))
    made: NDArray[np.uint8] = np.clip(level + 0.4 * contrast * noise, 0, 255).astype(np.uint8)
    return made
