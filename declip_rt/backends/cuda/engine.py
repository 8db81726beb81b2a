"""An engine on a GPU: lanes on one device, with a smaller batch where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from declip_rt.backends.contract import EngineInfo
from declip_rt.backends.cuda.context import Context
from declip_rt.backends.cuda.lane import GpuLane, Network
from declip_rt.errors import EngineError, OutOfMemory
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats

LANES = 4  # the default: one is filled while the others copy and compute
logger = logging.getLogger(__name__)


class GpuEngine:
    """A network on a GPU, with lanes. ONNX Runtime and TensorRT differ only in their network.

    info: what was asked for. Where memory is short, the engine tries once more, with a batch of half the size or less.
    Its own `info` says so, and a warning is logged.

    Raises:
        EngineError: the device fails, or the smaller batch does not fit either. The message has the figures.
    """

    def __init__(self, context: Context, network: Network, views: ViewSpec, info: EngineInfo, stats: Stats) -> None:
        self.info, self._lanes, self._closed, self._context = info, list[GpuLane](), False, context
        short = None
        try:
            self._open(context, network, views, stats)
        except OutOfMemory as error:
            fitting = [bucket for bucket in network.buckets if bucket <= info.batch // 2]
            if not fitting:
                raise
            short = str(error)  # not the error itself: its traceback holds memory
        if short:
            context.trim()
            self.info = replace(info, batch=fitting[-1], fallback=short)
            logger.warning("%s; going on with a batch of %d", short, fitting[-1])
            self._open(context, network, views, stats)

    @property
    def lanes(self) -> Sequence[GpuLane]:
        return self._lanes

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._free()

    def _open(self, context: Context, network: Network, views: ViewSpec, stats: Stats) -> None:
        try:
            for _ in range(self.info.lanes):
                with context.current():
                    self._lanes.append(GpuLane(context, network, views, self.info.batch, stats))
        except EngineError:
            self._free()
            raise

    def _free(self) -> None:
        while self._lanes:
            self._lanes.pop().close()
        self._context.trim()
