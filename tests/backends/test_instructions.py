"""What a CPU multiplies fast is read from what Linux tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from declip_rt.backends import instructions


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What stands in for /proc/cpuinfo."""
    monkeypatch.setattr(instructions, "INFO", tmp_path / "cpuinfo")
    instructions.flags.cache_clear()
    yield tmp_path / "cpuinfo"
    instructions.flags.cache_clear()


@pytest.mark.parametrize(
    ("machine", "flags", "exact", "half"),
    [
        ("x86_64", "flags : fpu avx2 avx512f avx512_vnni", True, False),
        ("x86_64", "flags : fpu avx2 avx_vnni avx512_bf16", True, False),
        ("x86_64", "flags : fpu avx512_vnni avx512_bf16 amx_bf16 amx_tile", True, True),
        ("x86_64", "flags : fpu avx2 avx512f", False, False),
        ("aarch64", "Features : fp asimd bf16", True, False),
    ],
)
def test_instruction_sets_decide(
    machine: str, flags: str, exact: bool, half: bool, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    told.write_text(f"cpu MHz : 2000.1\n{flags}\n")
    assert instructions.multiplies_8_bits() == exact
    assert instructions.gains_from_bf16() == half


def test_what_changes_with_time_is_no_flag(told: Path) -> None:
    told.write_text("model name : A CPU\ncpu MHz : 2000.1\nflags : fpu\n")
    assert instructions.flags() == {"model", "name", ":", "A", "CPU", "flags", "fpu"}


def test_systems_that_tell_nothing_have_none(told: Path) -> None:
    assert instructions.flags() == set()
