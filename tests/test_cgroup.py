"""A container's share of the machine is what the process counts on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from declip_rt import cgroup, stats
from declip_rt.images import memory


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "OWN", tmp_path / "own")
    return tmp_path


def test_version_2_bounds_by_every_group_above(root: Path) -> None:
    (root / "own").write_text("0::/jobs/one\n")
    inside = root / "jobs" / "one"
    inside.mkdir(parents=True)
    (root / "jobs" / "memory.max").write_text("4000\n")
    (root / "jobs" / "memory.current").write_text("1000\n")
    (inside / "memory.max").write_text("max\n")
    (inside / "cpu.max").write_text("150000 100000\n")
    (root / "jobs" / "cpu.max").write_text("max 100000\n")
    assert (cgroup.memory_left(), cgroup.cpus()) == (3000, 1.5)
    assert memory.allowance() == 1500
    assert stats.cores() == min(2, len(os.sched_getaffinity(0)))
    (inside / "cpu.max").write_text("10000 100000\n")
    assert stats.cores() == 1


def test_version_1_has_a_folder_for_each_controller(root: Path) -> None:
    (root / "own").write_text("5:cpu,cpuacct:/box\n4:memory:/box\n")
    for name in ("memory", "cpu,cpuacct"):
        (root / name / "box").mkdir(parents=True)
    (root / "memory" / "box" / "memory.limit_in_bytes").write_text("500")
    (root / "memory" / "box" / "memory.usage_in_bytes").write_text("700")
    (root / "cpu,cpuacct" / "box" / "cpu.cfs_quota_us").write_text("-1")
    (root / "cpu,cpuacct" / "box" / "cpu.cfs_period_us").write_text("100000")
    assert (cgroup.memory_left(), cgroup.cpus()) == (0, None)
    (root / "cpu,cpuacct" / "box" / "cpu.cfs_quota_us").write_text("50000")
    assert cgroup.cpus() == 0.5


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "0::/nowhere\n"])
def test_without_a_limit_there_is_none(root: Path, text: str | None) -> None:
    if text is not None:
        (root / "own").write_text(text)
    assert (cgroup.memory_left(), cgroup.cpus()) == (None, None)
    assert stats.cores() == len(os.sched_getaffinity(0))
