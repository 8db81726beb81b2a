"""What the stand-ins have, and so all that the runtime uses, TensorRT 11 and TensorRT for RTX have."""

from __future__ import annotations

import enum
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest
import rtx
import tensorrt
import tensorrt_rtx

from tests.simulated import nvml


def names(module: ModuleType) -> list[tuple[str, str]]:
    return [
        (kind, name)
        for kind, each in vars(module).items()
        if inspect.isclass(each) and each.__module__ == module.__name__
        for name in (each.__members__ if issubclass(each, enum.Enum) else vars(each))
        if not name.startswith("_")
    ]


NAMES = names(tensorrt)


@pytest.fixture(scope="module")
def bindings() -> bytes:
    """The bindings of TensorRT 11, which need libraries to be imported, but not to be read."""
    package = importlib.util.find_spec("tensorrt_bindings")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "tensorrt.so").read_bytes()


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_name_is_in_both_libraries(kind: str, name: str, bindings: bytes) -> None:
    assert hasattr(getattr(tensorrt_rtx, kind), name)
    for word in (kind, name):
        assert f"{word}\0".encode() in bindings  # where linkers let a string be the tail of another


@pytest.mark.parametrize(("kind", "name"), names(rtx))
def test_a_name_is_in_tensorrt_for_rtx(kind: str, name: str) -> None:
    assert hasattr(getattr(tensorrt_rtx, kind), name)


def test_names_of_nvml_are_in_pynvml() -> None:
    pynvml = pytest.importorskip("pynvml", reason="NOT RUN, nvidia-ml-py is not installed")
    found = [name for name in vars(nvml) if name.lower().startswith("nvml")]
    assert len(found) > 20
    for name in found:
        value = getattr(pynvml, name)
        assert callable(value) or value == getattr(nvml, name)


def test_there_are_names() -> None:
    assert len(NAMES) > 25
    assert len(names(rtx)) > 10
