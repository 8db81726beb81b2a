"""Files of strangers, damaged anywhere: each is read, or one error of ours says why not."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declip_rt import Bundle, BundleError, ConfigError, DeclipError, ImageError
from declip_rt.images import lists, sources
from declip_rt.output import files
from declip_rt.output.records import Columns, Record
from declip_rt.prompts import Prompts, axes
from tests.conftest import examples

LISTS = {
    ".txt": b"a.jpg\nb c.jpg\n",
    ".csv": b'path,mos\na.jpg,1\n"b,c.jpg",2\n',
    ".tsv": b"image\tmos\na.jpg\t1\n",
    ".jsonl": b'{"path": "a.jpg"}\n"b.jpg"\n',
    ".parquet": b"PAR1" + bytes(60) + b"PAR1",
}
damage = st.tuples(st.binary(max_size=40), st.integers(0, 4000), st.booleans())


def damaged(data: bytes, change: tuple[bytes, int, bool]) -> bytes:
    """With other bytes somewhere, or more of them, or cut off."""
    noise, at, cut = change
    at %= len(data) + 1
    return data[:at] + noise + (b"" if cut else data[at + len(noise) // 2 * 2 :])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def columns(bundle: Bundle) -> Columns:
    return Columns.of(bundle)


@pytest.mark.parametrize("suffix", LISTS)
@given(change=damage)
@examples(100)
def test_lists(folder: Path, suffix: str, change: tuple[bytes, int, bool]) -> None:
    file = folder / f"list{suffix}"
    file.write_bytes(damaged(LISTS[suffix], change))
    try:
        paths = lists.read_list(str(file))
    except ConfigError:
        return
    for path in sources.expand(paths):
        with suppress(ImageError):
            sources.read(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@given(change=damage)
@examples(60)
def test_files_to_go_on_with(folder: Path, columns: Columns, suffix: str, change: tuple[bytes, int, bool]) -> None:
    """What is kept are records with every column, and the file can be written on."""
    file = folder / f"scores{suffix}"
    file.unlink(missing_ok=True)
    files.journal(file).unlink(missing_ok=True)
    with_rows(file, columns)
    file.write_bytes(damaged(file.read_bytes(), change))
    kept: list[Record] = []
    try:
        sink = files.open_file(file, columns, lambda record: kept.append(record) is None)
        sink.write(columns.record(path="z.jpg", technical=0.5))
        sink.close()
    except ConfigError:
        return
    assert all(list(record) == list(columns.types) for record in kept)


def with_rows(file: Path, columns: Columns) -> None:
    sink = files.open_file(file, columns)
    for name in ("a.jpg", "b, c.jpg", "é.jpg"):
        sink.write(columns.record(path=name, technical=0.25, width=3, height=4))
    sink.close()


@given(change=damage)
@examples(150)
def test_the_manifest_of_a_bundle(folder: Path, bundle: Bundle, change: tuple[bytes, int, bool]) -> None:
    (folder / "bundle.json").write_bytes(damaged((bundle.path / "bundle.json").read_bytes(), change))
    with suppress(BundleError):
        Bundle(folder, verify=False)


@given(change=st.tuples(st.binary(max_size=40), st.integers(0, 400_000), st.booleans()))
@examples(15)
def test_the_tokenizer_of_a_bundle(folder: Path, bundle: Bundle, change: tuple[bytes, int, bool]) -> None:
    for name in ("bundle.json", "text.onnx"):
        if not (folder / "tokenized" / name).exists():
            (folder / "tokenized").mkdir(exist_ok=True)
            (folder / "tokenized" / name).symlink_to(bundle.path / name)
    assert bundle.manifest.text is not None
    name = bundle.manifest.text.tokenizer.file
    data = (bundle.path / name).read_bytes()
    assert json.loads(data)
    (folder / "tokenized" / name).write_bytes(damaged(data, change))
    try:
        axes(Bundle(folder / "tokenized", verify=False), [Prompts("calm", ("a calm photo",), ("a wild photo",))])
    except DeclipError:
        return
