"""Files of features: Parquet and npz, which say of which model they are. Where there is an error, features are NaN."""

from __future__ import annotations

import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from declip_rt.errors import ConfigError
from declip_rt.extras import load
from declip_rt.images.load import Facts
from declip_rt.model.bundle import Bundle
from declip_rt.output.files import JsonLines, Keep, PackedFile, Packing, chunks
from declip_rt.output.records import Columns, Record, run_of
from declip_rt.score import Embedding

SUFFIXES = (".parquet", ".npz")
SPACES = ("perceptual", "semantic")
GROUP = 1024  # rows in a group of Parquet, and so in memory


def columns_of(bundle: Bundle, *, precision: str, decode_scale: str, icc: bool) -> Columns:
    """The columns of a journal, where features stand in base64. Those of `run` are told once of a whole file."""
    how = {"decode_scale": decode_scale, "icc": "applied" if icc else "ignored"}
    run = run_of(bundle, precision, **how, features=str(bundle.manifest.features))
    front = {"path": str, "width": int, "height": int} | dict.fromkeys(SPACES, str)
    return Columns(front | {"error": str, "size": int, "mtime_ns": int} | dict.fromkeys(run, str), SPACES, run)


def embedded(columns: Columns, path: str, facts: Facts, embedding: Embedding) -> Record:
    told = {name: getattr(facts, name) for name in ("width", "height", "size", "mtime_ns")}
    return columns.record(path=path, **told, **{space: _text(getattr(embedding, space)) for space in SPACES})


def check(path: Path) -> None:
    """Raises Unavailable where the library that writes such a file is missing."""
    if path.suffix.lower() == ".parquet":
        load("pyarrow.parquet")


def open_features(path: Path, columns: Columns, keep: Keep | None = None) -> PackedFile:
    """The sink that the suffix of `path` (of SUFFIXES) asks for.

    Raises ConfigError where the rows to keep are of another model, or were computed otherwise.
    """
    packing: Packing = Npz(columns) if path.suffix.lower() == ".npz" else Parquet(columns)
    return PackedFile(path, Lines(columns), packing, keep)


class Lines(JsonLines):
    """A journal of features."""

    def _is_whole(self, record: object) -> bool:
        """Raises ConfigError where it is of another run."""
        if not super()._is_whole(record):
            return False
        assert isinstance(record, dict)
        _check_run(record, self._columns)
        features = int(self._columns.run["features"])
        return record["error"] is not None or all(_is_vector(record[space], features) for space in SPACES)


class Parquet:
    """Features are fixed-size lists of float32; the schema's metadata tells of the run."""

    def __init__(self, columns: Columns) -> None:
        load("pyarrow.parquet")
        arrow = self._arrow = load("pyarrow")
        self._columns, self._features = columns, int(columns.run["features"])
        kinds = {str: arrow.string(), int: arrow.int64()}
        types = {name: kinds[columns.types[name]] for name in _names(columns)}
        types |= dict.fromkeys(SPACES, arrow.list_(arrow.float32(), self._features))
        self._schema = arrow.schema(list(types.items()), metadata=dict(columns.run))

    def write(self, path: Path, records: Iterator[Record]) -> None:
        with self._arrow.parquet.ParquetWriter(path, self._schema, use_dictionary=["error"]) as writer:
            for chunk in chunks(records, GROUP):
                arrays = [self._array(name, [record[name] for record in chunk]) for name in self._schema.names]
                writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def read(self, path: Path) -> Iterator[Record]:
        arrow = self._arrow
        with _going_on(path, arrow.ArrowException, OSError, ValueError):
            file = arrow.parquet.ParquetFile(path)
            if not file.schema_arrow.equals(self._schema):
                raise ValueError("its columns are others")
            metadata = file.schema_arrow.metadata or {}
            _check_run({name: metadata.get(name.encode(), b"").decode() for name in self._columns.run}, self._columns)
            for batch in file.iter_batches(GROUP):
                columns = [self._values(name, batch.column(name)) for name in self._schema.names]
                for row in zip(*columns, strict=True):
                    yield self._columns.record(**dict(zip(self._schema.names, row, strict=True)))

    def _array(self, name: str, values: list[Any]) -> Any:
        arrow = self._arrow
        if name not in SPACES:
            return arrow.array(values, self._schema.field(name).type)
        # No nulls: pyarrow 16 cannot read them back, and `flatten` leaves them out.
        flat = np.frombuffer(b"".join(_bytes(value, self._features) for value in values), "<f4")
        return arrow.FixedSizeListArray.from_arrays(arrow.array(flat), self._features)

    def _values(self, name: str, column: Any) -> list[Any]:
        if name not in SPACES:
            return list(column.to_pylist())
        return [_text(vector) for vector in column.flatten().to_numpy().reshape(-1, self._features)]


class Npz:
    """An array a column, with 0 or "" where there is nothing; what tells of the run is an array of one value."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._features = columns, int(columns.run["features"])

    def write(self, path: Path, records: Iterator[Record]) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in self._arrays(records).items():
                member = zipfile.ZipInfo(f"{name}.npy")
                if array.dtype.kind == "U":  # each text has the room of the longest
                    member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    npy.write_array(file, array, allow_pickle=False)

    def read(self, path: Path) -> Iterator[Record]:
        with _going_on(path, OSError, EOFError, MemoryError, TypeError, ValueError, zipfile.BadZipFile, zlib.error):
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            if _shapes(arrays) != _shapes(self._arrays(iter(()))):
                raise ValueError("its arrays are others")
            _check_run({name: str(arrays.pop(name)) for name in self._columns.run}, self._columns)
            for row in zip(*arrays.values(), strict=True):
                values = {
                    name: _text(value) if name in SPACES else value.item() or None
                    for name, value in zip(arrays, row, strict=True)
                }
                yield self._columns.record(**values)

    def _arrays(self, records: Iterator[Record]) -> dict[str, NDArray[Any]]:
        vectors = {space: bytearray() for space in SPACES}
        values: dict[str, list[Any]] = {name: [] for name in _names(self._columns) if name not in SPACES}
        for record in records:
            for space, held in vectors.items():
                held += _bytes(record[space], self._features)
            for name, column in values.items():
                column.append(record[name] or self._columns.types[name]())
        arrays = {space: np.frombuffer(held, "<f4").reshape(-1, self._features) for space, held in vectors.items()}
        kinds = {str: np.str_, int: np.int64}
        arrays |= {name: np.array(column, kinds[self._columns.types[name]]) for name, column in values.items()}
        told = {name: np.array(value) for name, value in self._columns.run.items()}
        return {name: arrays[name] for name in _names(self._columns)} | told | {"features": np.array(self._features)}


def _names(columns: Columns) -> list[str]:
    """The columns of a file."""
    return [name for name in columns.types if name not in columns.run]


def _shapes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What kind of values each has, and of what shape they are."""
    return {name: (array.dtype.kind, array.shape[1:]) for name, array in arrays.items()}


def _text(vector: NDArray[np.float32]) -> str:
    return b64encode(vector.astype("<f4").tobytes()).decode()


def _bytes(text: str | None, features: int) -> bytes:
    return np.full(features, np.nan, "<f4").tobytes() if text is None else b64decode(text)


def _is_vector(text: str | None, features: int) -> bool:
    try:
        return text is not None and len(b64decode(text, validate=True)) == 4 * features
    except ValueError:
        return False


def _check_run(found: Mapping[str, Any], columns: Columns) -> None:
    for name, value in columns.run.items():
        if found[name] != value:
            raise ConfigError(
                f"the file to resume has features of {name} {found[name]}, and this run gives {name} {value}; "
                "choose another --out, or start again with --overwrite"
            )


@contextmanager
def _going_on(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Errors in reading `path` become ConfigError."""
    try:
        yield
    except ConfigError:
        raise
    except errors as error:
        raise ConfigError(f"{path} is no file of features to go on with ({error}); --overwrite starts again") from error
