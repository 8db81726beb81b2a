"""Which rows of an earlier run a later one goes on with."""

from __future__ import annotations

from collections.abc import Sequence

from declip_rt.images import sources
from declip_rt.output import files, records
from declip_rt.output.records import Columns, Record


class Kept:
    """Decides which rows of an earlier run still hold, and shows those that this run is about.

    A row holds until something says otherwise: another model, a file that changed. One out of reach says nothing.
    """

    def __init__(self, columns: Columns, paths: list[str], shown: Sequence[files.Sink]) -> None:
        self.keys: set[str] = set()
        self.others = self.away = 0
        self._columns, self._shown = columns, shown
        self._paths = {records.key(path): path for path in paths}
        self._files = {records.key(sources.file_of(path)) for path in paths}
        self._strange: set[str] = set()  # the images of other rows

    def __call__(self, record: Record) -> bool:
        name = records.key(record["path"])
        if (path := self._paths.get(name)) is None:
            if name in self._files:  # an archive could not be read then
                return False
            known = name in self._strange
            self._strange.add(name)
            self.others += not known
            return not known
        if name in self.keys or record["error"] is not None:
            return False
        if any(record[column] != value for column, value in self._columns.run.items()):
            return False
        if not self._columns.is_whole(record):
            return False
        try:
            size, mtime_ns = sources.stamp(path)
            if size not in (None, record["size"]) or mtime_ns != record["mtime_ns"]:
                return False
        except (OSError, ValueError):
            self.away += 1
        self.keys.add(name)
        for sink in self._shown:
            sink.write(record | {"path": path})
        return True
