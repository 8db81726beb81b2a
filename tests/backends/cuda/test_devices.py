"""GPUs are what nvidia-smi says."""

from __future__ import annotations

from pathlib import Path

import pytest

from declip_rt.backends.cuda.devices import Gpu, list_devices


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo 'NVIDIA L4, 8.9, 580.65'; echo 'NVIDIA T4, 7.5, 580.65'",
            [Gpu(0, "NVIDIA L4", "8.9", "580.65"), Gpu(1, "NVIDIA T4", "7.5", "580.65")],
        ),
        ("echo 'No devices were found'", []),
        ("exit 9", []),
    ],
)
def test_what_it_says(script: str, expected: list[Gpu], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert list_devices() == expected


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_devices() == []
