"""What lanes keep to with any network that computes the small bundle on a GPU, TensorRT or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from declip_rt import Bundle
from declip_rt.backends import parity
from declip_rt.backends.contract import Engine
from declip_rt.backends.cuda import devices
from declip_rt.backends.cuda.context import Context
from declip_rt.images.load import Loader, is_on_gpu
from declip_rt.model.manifest import LIMITS, OUTPUTS
from declip_rt.pipeline import Pipeline
from declip_rt.stats import Stats
from tests.backends.contract import Contract, Open
from tests.backends.small import small_bundle
from tests.conftest import picture
from tests.gpu.conftest import Frame

BUCKETS, BATCH = (1, 4), 4
BATCHES = 60 if devices.list_devices() else 15  # the simulated GPU is slow, and counts every byte


def layer_of(bundle: Bundle) -> tuple[np.ndarray, dict[str, int]]:
    """The weights of the small bundle's one layer, and the widths of its outputs."""
    graph = onnx.load(bundle.graph()).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    return constants["weights"], dict(zip(OUTPUTS, constants["widths"].tolist(), strict=True))


def pipeline_of(engine: Engine, bundle: Bundle) -> Pipeline[Any, Any, Any]:
    stats = Stats()
    loader = Loader(bundle.views, stats)
    return Pipeline[Any, Any, Any](engine, loader.load, loader.place, 2, stats, is_on_gpu)


class Lanes(Contract):
    """The tests. A module that has them has the fixture `reopen`, too, of BATCH."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        return small_bundle(tmp_path_factory.mktemp("small"))

    def settle(self) -> None:
        """Frees what the network's library keeps for later."""

    def test_it_passes_the_parity_gate(self, engine: Engine, bundle: Bundle) -> None:
        assert parity.prove(engine, bundle).keeps(LIMITS["fp32"])

    def test_frames_and_photos_score_alike(self, engine: Engine, bundle: Bundle, context: Context) -> None:
        pipeline = pipeline_of(engine, bundle)
        pictures = [picture(i) for i in range(11)]
        mixed = [Frame(context, rgb) if i % 3 else rgb for i, rgb in enumerate(pictures)]
        ours, expected = (
            np.array([done.outputs.scores[done.row] for done in pipeline.run(images)]) for images in (mixed, pictures)
        )
        assert np.array_equal(ours, expected)

    def test_memory_is_flat_and_closing_frees_it(self, reopen: Open, bundle: Bundle, context: Context) -> None:
        views = parity.pictures(bundle.views)

        def place(item: int, slot: Any) -> None:
            slot.memory[...] = views[item % len(views)]

        def free() -> int:
            self.settle()
            return context.free()[0]

        reopen().close()
        before = free()
        engine = reopen()
        pipeline = Pipeline[int, int, None](engine, lambda item: item, place, 4)
        list(pipeline.run(range(BATCH * 6)))
        held = free()
        rows = [done.outputs.scores[done.row] for done in pipeline.run(range(BATCH * BATCHES)) if done.outputs]
        assert len(rows) == BATCH * BATCHES
        assert free() >= held - 2**20
        pipeline.close()
        assert free() >= before - 2**20
