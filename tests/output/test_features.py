"""Files of features: the same bits in both formats, of one model, without pickles, and written in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from declip_rt import Bundle, ConfigError, Embedding
from declip_rt.images.load import Facts
from declip_rt.output import features, files
from declip_rt.output.features import SPACES, open_features
from declip_rt.output.records import Columns, Record, failed

ODD = "\udce9.jpg"
HOW = {"precision": "fp32", "decode_scale": "full", "icc": True}
both = pytest.mark.parametrize("suffix", features.SUFFIXES)


@pytest.fixture
def columns(bundle: Bundle) -> Columns:
    return features.columns_of(bundle, **HOW)  # type: ignore[arg-type]


def vectors(seed: int, width: int) -> Embedding:
    made = np.random.default_rng(seed).normal(size=(2, width)).astype(np.float32)
    return Embedding(*made / np.linalg.norm(made, axis=1, keepdims=True))


def row(columns: Columns, seed: int) -> Record:
    given = vectors(seed, int(columns.run["features"]))
    return features.embedded(columns, f"{seed}.jpg", Facts(320, 260, 1000 + seed, 7), given)


def write(path: Path, columns: Columns, rows: list[Record], keep: files.Keep | None = None) -> None:
    sink = open_features(path, columns, keep)
    for each in rows:
        sink.write(each)
    sink.close()


def read(path: Path) -> dict[str, Any]:
    """The arrays of a file, and what tells of the run, as others read them."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name].item() if file[name].ndim == 0 else file[name] for name in file}
    table = pyarrow.parquet.read_table(path)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    run = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    return run | columns | {space: np.stack(columns[space]) for space in SPACES}


def everything(record: Record) -> bool:
    return True


@both
def test_features_are_what_they_were_to_the_bit(tmp_path: Path, columns: Columns, bundle: Bundle, suffix: str) -> None:
    path, width = tmp_path / f"f{suffix}", bundle.manifest.features
    write(path, columns, [row(columns, 0), failed(columns, ODD, "broken"), row(columns, 2)])
    write(path, columns, [row(columns, 3)], keep=everything)
    found = read(path)
    assert list(found["path"]) == ["0.jpg", "\\xe9.jpg", "2.jpg", "3.jpg"]
    for space in SPACES:
        assert (found[space].dtype, found[space].shape) == (np.float32, (4, width))
        assert np.isnan(found[space][1]).all()
        for i in (0, 2, 3):
            assert found[space][i].tobytes() == getattr(vectors(i, width), space).tobytes()
    assert [error or None for error in found["error"]] == [None, "broken", None, None]
    assert list(found["width"])[2:] == [320, 320]
    assert list(found["size"])[2:] == [1002, 1003]
    assert (found["model"], found["bundle"]) == (bundle.name, bundle.hash)
    assert int(found["features"]) == width
    assert [found[name] for name in ("precision", "decode_scale", "icc")] == ["fp32", "full", "applied"]
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no journal is left"


def test_parquet_has_lists_of_fixed_size_in_groups_of_rows(tmp_path: Path, columns: Columns) -> None:
    path, count = tmp_path / "f.parquet", features.GROUP + 5
    some = row(columns, 0)
    write(path, columns, [some | {"path": f"{i}.jpg"} for i in range(count)])
    file = pyarrow.parquet.ParquetFile(path)
    assert all(
        file.schema_arrow.field(space).type == pa.list_(pa.float32(), int(columns.run["features"])) for space in SPACES
    )
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [features.GROUP, 5]


def test_parquet_takes_the_memory_of_a_group(tmp_path: Path, columns: Columns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "GROUP", 20)
    some = row(columns, 0)

    def peak(count: int) -> int:
        """Bytes, of Python and NumPy, and of Arrow."""
        sink = open_features(tmp_path / f"{count}.parquet", columns)
        for i in range(count):
            sink.write(some | {"path": f"{i}.jpg"})
        pool = pa.system_memory_pool()
        before, default = pool.max_memory(), pa.default_memory_pool()
        pa.set_memory_pool(pool)
        tracemalloc.start()
        sink.close()
        pa.set_memory_pool(default)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return python + pool.max_memory() - before

    peak(20)  # what is imported and kept
    few, many = peak(100), peak(1000)
    assert many - few < 900 * 8 * int(columns.run["features"]) / 10, "far less than the features take"


@both
def test_each_row_is_on_disk_at_once_and_damage_costs_its_own_row(
    tmp_path: Path, columns: Columns, suffix: str
) -> None:
    path = tmp_path / f"f{suffix}"
    killed = open_features(path, columns)
    for i in range(5):
        killed.write(row(columns, i))  # and never closed
    journal = files.journal(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    short, strange, torn = (lines[i].replace(b'"perceptual": "', mark, 1) for i, mark in (
        (1, b'"perceptual": "AAAA'), (2, b'"perceptual": "\\u00e9'), (4, b"")))  # fmt: skip
    journal.write_bytes(b"".join([lines[0], short, strange, lines[3], torn[:100]]))
    write(path, columns, [row(columns, 6)], keep=everything)
    assert list(read(path)["path"]) == ["0.jpg", "3.jpg", "6.jpg"]


@both
@pytest.mark.parametrize(
    "other", [{"precision": "int8"}, {"decode_scale": "auto"}, {"icc": False}], ids=lambda other: next(iter(other))
)
@pytest.mark.parametrize("is_killed", [False, True])
def test_features_that_cannot_be_compared_are_not_mixed(
    tmp_path: Path, bundle: Bundle, columns: Columns, suffix: str, other: dict[str, Any], is_killed: bool
) -> None:
    path = tmp_path / f"f{suffix}"
    sink = open_features(path, columns)
    sink.write(row(columns, 0))
    if not is_killed:
        sink.close()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=f"has features of {next(iter(other))} .* choose another --out"):
        open_features(path, features.columns_of(bundle, **HOW | other), everything)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("it was unpickled",)


def test_a_long_text_is_not_as_long_for_each_row(tmp_path: Path, columns: Columns) -> None:
    path = tmp_path / "f.npz"
    write(path, columns, [failed(columns, f"{i}.jpg", "!" * (10_000 if i == 7 else 9)) for i in range(200)])
    assert read(path)["error"].nbytes == 200 * 4 * 10_000
    assert path.stat().st_size < 200 * 10_000


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, path=np.array([Trap()], object))


def of_scores(path: Path) -> None:
    if path.suffix == ".npz":
        np.savez(path, path=np.array(["a.jpg"]), technical=np.array([0.5]))
    else:
        pyarrow.parquet.write_table(pa.table({"path": ["a.jpg"], "technical": [0.5]}), path)


def bare(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


@both
@pytest.mark.parametrize("make", [pickled, of_scores, bare, garbage])
def test_what_is_no_file_of_features_is_not_gone_on_with(
    tmp_path: Path, columns: Columns, suffix: str, make: Callable[[Path], None]
) -> None:
    path = tmp_path / f"f{suffix}"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"is no file of features to go on with .* --overwrite starts again"):
        open_features(path, columns, everything)
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, before)]


@both
def test_a_file_that_was_cut_is_not_gone_on_with(tmp_path: Path, columns: Columns, suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    write(path, columns, [row(columns, i) for i in range(3)])
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:2000] + bytes(3000) + whole[5000:]):
        path.write_bytes(damaged)
        if suffix == ".parquet" and len(damaged) == len(whole):
            continue  # pages have no checksum
        with pytest.raises(ConfigError, match="is no file of features"):
            open_features(path, columns, everything)


@both
def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, columns: Columns, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"f{suffix}"
    write(path, columns, [row(columns, 0)])
    before = path.read_bytes()
    sink = open_features(path, columns)
    sink.write(row(columns, 1))
    monkeypatch.setattr(features, "_bytes", lambda text, width: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sink.close()
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, files.journal(path).name]
