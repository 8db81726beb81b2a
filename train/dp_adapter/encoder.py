"""Features of many pictures by a bundle's graph, with the coarse feature that its projectors read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from declip_rt.errors import ConfigError
from declip_rt.images.views import write_views
from declip_rt.model.bundle import Bundle
from train.distortions import RGB

BATCH = 8


class Encoder:
    """`encoder(pictures)`: perceptual, semantic and coarse (N, D) and scores (N, K), float32, by their names."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle, self.threads = bundle, threads
        self.widths = {name: bundle.manifest.features for name in ("perceptual", "semantic", "coarse")}
        self.widths["scores"] = len(bundle.heads)

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """Of the bundle's graph, with the coarse feature as its last output."""
        model = onnx.load(self.bundle.graph())
        coarse = onnx.helper.make_tensor_value_info(_before_projectors(model), onnx.TensorProto.FLOAT, None)
        model.graph.output.append(coarse)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def __call__(self, pictures: Sequence[RGB]) -> dict[str, Tensor]:
        parts = [self._run(pictures[first : first + BATCH]) for first in range(0, len(pictures), BATCH)]
        names = [output.name for output in self.session.get_outputs()[:-1]] + ["coarse"]
        whole = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
        return dict(zip(names, whole, strict=True))

    def _run(self, pictures: Sequence[RGB]) -> list[NDArray[np.float32]]:
        views = np.empty((len(pictures), *self.bundle.views.shape), np.uint8)
        for picture, some in zip(pictures, views, strict=True):
            write_views(picture, self.bundle.views, some)
        return self.session.run(None, {"pixels": views})


def _before_projectors(model: onnx.ModelProto) -> str:
    """The tensor that both projectors read: the input of their first normalisations."""
    read = [
        node.input[0]
        for node in model.graph.node
        if node.op_type == "LayerNormalization" and node.input[1].split(".")[0] in ("perceptual", "semantic")
    ]
    if len(set(read)) != 1:
        raise ConfigError(
            f"the bundle's graph has {len(set(read))} tensors that its projectors read, not 1; export it again"
        )
    return read[0]
