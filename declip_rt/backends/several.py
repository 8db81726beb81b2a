"""Several GPUs as one engine: their lanes take turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from declip_rt.backends.contract import Engine, Lane
from declip_rt.errors import ImageError


class _OneOfSeveral:
    """A lane, but for frames: which GPU's lane is free next is chance."""

    def __init__(self, lane: Lane) -> None:
        self.inner = lane
        self.slot, self.launch, self.result = lane.slot, lane.launch, lane.result

    def put(self, i: int, frame: object) -> tuple[int, int]:
        self.inner.slot(i)  # which a closed engine refuses
        raise ImageError(
            "frames on a GPU are for one GPU: choose `device` as that of the frame, or copy it to the host"
        )


class Several:
    """Engines of the same kind and graph, one for each GPU.

    Each batch is computed by one of them, so that scores differ by no more than between the GPUs. open: makes the
    engine of a GPU. Where one fails, the others are closed, and its error, which names the GPU, is raised.
    """

    def __init__(self, open: Callable[[int], Engine], indexes: Sequence[int]) -> None:
        self._engines: list[Engine] = []
        try:
            for index in indexes:
                self._engines.append(open(index))
        except BaseException:
            self.close()
            raise
        first, batch = self._engines[0].info, min(each.info.batch for each in self._engines)
        short = "; ".join(each.info.fallback for each in self._engines if each.info.fallback)
        lanes, places = sum(each.info.lanes for each in self._engines), ", ".join(map(str, indexes))
        name = f"GPUs {places}: {first.name}"
        self.info = replace(first, index=None, name=name, batch=batch, lanes=lanes, fallback=short or None)

    @property
    def lanes(self) -> Sequence[Lane]:
        turns = chain.from_iterable(zip_longest(*(each.lanes for each in self._engines)))
        return [_OneOfSeveral(lane) for lane in turns if lane is not None]

    @property
    def is_closed(self) -> bool:
        return any(each.is_closed for each in self._engines)

    def close(self) -> None:
        for each in self._engines:
            each.close()
