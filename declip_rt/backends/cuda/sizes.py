"""What frames of one size have in common: where their views are, and the weights on the GPU that cut them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from declip_rt.backends.cuda.kernels import ViewLayout
from declip_rt.images.views import boxes
from declip_rt.model.manifest import ViewSpec


@dataclass(eq=False)
class Size:
    """Frames of one size."""

    layout: ViewLayout
    weights: Any = None  # a cuda.core.Buffer, once the kernel that computes them is queued


class Sizes:
    """The sizes that were seen last. Frames of a video have one, whose weights are computed once."""

    def __init__(self, views: ViewSpec) -> None:
        self._views = views
        self._known = OrderedDict[tuple[int, int], Size]()  # the last is the one used last
        self._bytes = 0  # of weights, computed or not

    def of(self, width: int, height: int) -> Size:
        known = self._known.get((width, height))
        if known is None:
            squares = boxes(self._views, width, height)
            known = Size(ViewLayout.of(squares, width, height, self._views.size))
            self._known[width, height] = known
            self._bytes += known.layout.weights
        self._known.move_to_end((width, height))
        return known

    def trim(self, stream: Any, most: int) -> None:
        """Forgets sizes until `most` bytes of weights are left. They are freed after what `stream` has queued."""
        while self._bytes > most:
            _, old = self._known.popitem(last=False)
            self._bytes -= old.layout.weights
            if old.weights is not None:
                old.weights.close(stream)
                old.weights = None
