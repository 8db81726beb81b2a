"""Weights outside of a graph's file are found wherever they are; what is no ONNX is called so."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from declip_rt import Bundle, BundleError
from declip_rt.model import onnx_file


def tensor(outside: bool) -> TensorProto:
    made = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    if outside:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="../../etc/passwd")
    return made


def model(place: str, outside: bool) -> onnx.ModelProto:
    """A model with its weights as an initializer, a constant, a sparse one, in a branch, or in a function."""
    weights, nodes, more, sparse, functions = tensor(outside), [helper.make_node("Abs", ["x"], ["y"])], [], [], []
    constant = helper.make_node("Constant", [], ["c"], value=weights)
    if place == "initializer":
        more = [weights]
    elif place == "constant":
        nodes.append(constant)
    elif place == "sparse":
        indices = numpy_helper.from_array(np.arange(4), "i")
        sparse = [onnx.SparseTensorProto(values=weights, indices=indices, dims=[4])]
    elif place == "branch":
        inner = helper.make_graph([constant], "inner", [], [])
        nodes.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    else:
        functions = [helper.make_function("own", "f", [], ["c"], [constant], [helper.make_opsetid("", 18)])]
    graph = helper.make_graph(nodes, "g", [], [], more, sparse_initializer=sparse)
    return helper.make_model(graph, functions=functions)


@pytest.mark.parametrize("place", ["initializer", "constant", "sparse", "branch", "function"])
def test_weights_in_other_files_are_refused(tmp_path: Path, place: str) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(model(place, outside=False).SerializeToString())
    onnx_file.check(file)
    file.write_bytes(model(place, outside=True).SerializeToString())
    with pytest.raises(BundleError, match="keeps weights in other files; export it with its weights inside"):
        onnx_file.check(file)


def test_the_embedded_graphs_are_looked_through_in_no_time(bundle: Bundle) -> None:
    began = time.perf_counter()
    for part in bundle.manifest.graphs.values():
        onnx_file.check(bundle.path / part.file)
    assert time.perf_counter() - began < 2


@given(st.binary(min_size=0, max_size=200))
def test_any_bytes_are_a_graph_or_no_graph(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(data)
    with suppress(BundleError):
        onnx_file.check(file)


def test_where_operators_are_from(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [], [])
    for domains in ({""}, {"", "com.microsoft"}, {"own"}, {"ai.onnx", ""}):
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid(name, 18) for name in domains])
        onnx.save(made, tmp_path / "g.onnx")
        assert onnx_file.domains(tmp_path / "g.onnx") == domains
