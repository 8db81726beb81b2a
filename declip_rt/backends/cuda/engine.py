"""What GPU engines share: lanes on one device, in as much memory as there is."""

from __future__ import annotations

from collections.abc import Callable

from declip_rt.backends.cuda.context import Context, OutOfMemory
from declip_rt.backends.cuda.lane import GpuLane, Network
from declip_rt.errors import EngineError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import Stats

LANES = 4  # one is filled while the others copy and compute


class GpuEngine:
    """A network on the GPU `index`, with lanes.

    Where memory is short it takes a batch of half the size or less,
    once, and says so by `say`.

    Raises:
        EngineError: the device fails, or that is too much as well; with figures.
    """

    device: str
    precision: str

    def __init__(
        self,
        context: Context,
        network: Network,
        bundle: Bundle,
        batch: int,
        lanes: int | None,
        stats: Stats,
        say: Callable[[str], None],
    ) -> None:
        self.index, self.batch, self.lanes = context.index, batch, list[GpuLane]()
        views, count = bundle.views, lanes or LANES
        short = None
        try:
            self._open(context, network, views, count, stats)
        except OutOfMemory as error:
            fitting = [bucket for bucket in network.buckets if bucket <= batch // 2]
            if not fitting:
                raise
            short = str(error)  # not the error itself, whose traceback holds memory
        if short:
            self.batch = fitting[-1]
            say(f"{short}; going on with a batch of {self.batch}")
            self._open(context, network, views, count, stats)

    def _open(self, context: Context, network: Network, views: ViewSpec, count: int, stats: Stats) -> None:
        try:
            for _ in range(count):
                self.lanes.append(GpuLane(context, network, views, self.batch, stats))
        except EngineError:
            self.close()
            raise

    def close(self) -> None:
        while self.lanes:
            self.lanes.pop().close()
