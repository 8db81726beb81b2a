"""What is installed: the runtime alone, on any platform."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_declip_rt_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "declip_rt",
        wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info",
    }
    for needed in ("py.typed", "report.html", "bundles/declip-tiny/bundle.json", "bundles/declip-tiny/fp32.onnx"):
        assert f"declip_rt/{needed}" in names
