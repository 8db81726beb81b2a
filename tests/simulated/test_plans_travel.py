"""Plans that are built in one place run in another: a later version, another driver, another cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorrt

from declip_rt import Bundle, EngineError
from declip_rt.backends import parity
from declip_rt.backends.choose import open_engine
from declip_rt.backends.contract import Engine, EngineOptions
from declip_rt.backends.cuda.devices import Gpu
from declip_rt.backends.trt.network import TensorRtNetwork
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.commands.main import main
from tests.simulated.conftest import Simulation

TRAVELS = 'graph = "fp32"\nbatches = [1, 2]\nversion_compatible = true\nhardware_compatible = "same_capability"'
Open = Callable[[], Engine]


@pytest.fixture(autouse=True)
def built(caplog: pytest.LogCaptureFixture) -> list[tensorrt.IBuilderConfig]:
    caplog.set_level(logging.INFO, "declip_rt")
    tensorrt.built.clear()
    return tensorrt.built


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines whose parity was measured."""
    found: list[Engine] = []
    measure = parity.measure
    monkeypatch.setattr(parity, "measure", lambda engine, bundle: found.append(engine) or measure(engine, bundle))
    return found


@pytest.fixture
def opened(bundle: Bundle, tmp_path: Path) -> Callable[..., Engine]:
    def open_recipe(text: str = TRAVELS) -> Engine:
        (tmp_path / "own.toml").write_text(text)
        options = EngineOptions(device="tensorrt", batch=2, lanes=1, recipe=tmp_path / "own.toml")
        return open_engine(bundle, options)

    return open_recipe


def sidecars(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def install_lean(site: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pip install tensorrt-lean-cu13-libs`: a library, and what pip writes of it."""
    (site / "tensorrt_lean_libs").mkdir(parents=True)
    (site / "tensorrt_lean_libs/libnvinfer_lean.so.11").write_text(version)
    info = site / f"tensorrt_lean_cu13_libs-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: tensorrt_lean_cu13_libs\nVersion: {version}\n")
    (info / "RECORD").write_text("tensorrt_lean_libs/__init__.py,,\ntensorrt_lean_libs/libnvinfer_lean.so.11,,\n")
    monkeypatch.syspath_prepend(site)


def test_a_recipe_asks_for_what_travels(
    gpu: Simulation, opened: Open, built: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened().close()
    main(["plans"])
    listed = capsys.readouterr().out
    assert "tensorrt 11.0.0 and newer, fp32, batches 1, 2, for compute capability 8.9, built" in listed
    flags = tensorrt.BuilderFlag
    assert {flags.VERSION_COMPATIBLE, flags.EXCLUDE_LEAN_RUNTIME} <= built[-1].flags
    level = tensorrt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert built[-1].hardware_compatibility_level == level
    (origin,) = [each["origin"] for each in sidecars(tmp_path / "plans")]
    assert (origin["gpu"], origin["capability"], origin["driver"]) == ("", "8.9", "")


def test_a_plan_runs_under_a_later_version_by_its_own_lean_runtime(
    gpu: Simulation, opened: Open, built: list, measured: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    install_lean(tmp_path / "site", "11.0.0", monkeypatch)
    monkeypatch.setattr(tensorrt, "__version__", "11.4.0")
    for _ in range(2):
        engine = opened()
        assert str(engine.info).startswith("tensorrt:0 (Simulated GPU, tensorrt 11.0.0")
        engine.close()
    assert (len(built), len(measured)) == (1, 2), "another version proves itself once"
    monkeypatch.setattr(tensorrt, "__version__", "10.9.0")
    opened().close()
    assert len(built) == 2, "an earlier version builds its own"


@pytest.mark.parametrize("installed", ["", "11.1.0"])
def test_without_its_lean_runtime_it_is_built_again_and_the_log_says_what_to_install(
    installed: str,
    gpu: Simulation,
    opened: Open,
    built: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened().close()
    if installed:
        install_lean(tmp_path / "site", installed, monkeypatch)
    monkeypatch.setattr(tensorrt, "__version__", "11.4.0")
    opened().close()
    assert len(built) == 2
    assert caplog.messages[-1].endswith("of version 11.0.0 instead: pip install tensorrt-lean-cu13-libs==11.0.0")


def test_a_damaged_plan_of_an_earlier_version_is_not_used(
    gpu: Simulation, opened: Open, built: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    next((tmp_path / "plans").glob("*.plan")).write_bytes(b"damaged")
    install_lean(tmp_path / "site", "11.0.0", monkeypatch)
    monkeypatch.setattr(tensorrt, "__version__", "11.4.0")
    opened().close()
    assert len(built) == 2
    assert {each["origin"]["version"] for each in sidecars(tmp_path / "plans")} == {"11.0.0", "11.4.0"}


def test_a_lean_runtime_that_does_not_load_says_what_to_do(
    gpu: Simulation, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    install_lean(tmp_path / "site", "11.0.0", monkeypatch)
    (tmp_path / "site/tensorrt_lean_libs/libnvinfer_lean.so.11").unlink()
    monkeypatch.setattr(tensorrt, "__version__", "11.4.0")
    with pytest.raises(EngineError, match=r"Unable to load library.*pip install tensorrt-lean-cu13-libs==11\.0\.0"):
        opened()


def test_on_another_driver_it_is_found_and_proven_again(
    gpu: Simulation, opened: Open, built: list, measured: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("580.1", "580.1", "590.2"):
        here = [Gpu(0, "Simulated GPU", "8.9", driver)]
        monkeypatch.setattr("declip_rt.backends.cuda.devices.list_devices", lambda found=here: found)
        opened().close()
    assert (len(built), len(measured)) == (1, 2)
    opened('graph = "fp32"\nbatches = [1, 2]').close()
    monkeypatch.setattr("declip_rt.backends.cuda.devices.list_devices", list)
    opened('graph = "fp32"\nbatches = [1, 2]').close()
    assert len(built) == 3, "a plan that does not travel is for its driver"


def test_a_stripped_plan_takes_its_weights_from_the_bundle(
    gpu: Simulation, bundle: Bundle, opened: Open, built: list, tmp_path: Path
) -> None:
    for _ in range(2):
        opened('graph = "fp32"\nbatches = [1, 2]\nstripped = true').close()
    assert len(built) == 1
    assert {tensorrt.BuilderFlag.STRIP_PLAN, tensorrt.BuilderFlag.REFIT_IDENTICAL} <= built[0].flags
    plan = next((tmp_path / "plans").glob("*.plan"))
    assert plan.stat().st_size < 1000 < bundle.graph("fp32").stat().st_size
    (tmp_path / "other.onnx").write_bytes(b"other")
    recipe = Recipe(graph="fp32", batches=(1, 2), stripped=True)
    with pytest.raises(EngineError, match=r"cannot take the weights of .*other\.onnx: these are other weights"):
        TensorRtNetwork(plan.read_bytes(), recipe, "11.0.0", tmp_path / "other.onnx")


@pytest.mark.parametrize("stripped", ["", "stripped = true"])
def test_an_imported_plan_is_not_built_but_proven(
    stripped: str,
    gpu: Simulation,
    opened: Open,
    built: list,
    measured: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, file = f'graph = "fp32"\nbatches = [1, 2]\n{stripped}', str(tmp_path / "l4.declip-plans")
    opened(recipe).close()
    assert main(["plans", "export", "--all", "--out", file]) == 0
    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path / "elsewhere"))
    assert main(["plans", "import", file]) == 0
    for _ in range(2):
        opened(recipe).close()
    assert (len(built), len(measured)) == (1, 2), "once for each cache"


def test_an_imported_plan_that_scores_otherwise_is_refused(
    gpu: Simulation,
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(tmp_path / "l4.declip-plans")
    opened().close()
    assert main(["plans", "export", "--all", "--out", file]) == 0
    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path / "elsewhere"))
    assert main(["plans", "import", file]) == 0
    tensorrt.faults.add("moved")
    with pytest.raises(EngineError, match="does not score as the reference does"):
        opened()
    assert not list((tmp_path / "elsewhere").glob("*.plan"))
    assert main(["plans", "export", "--all", "--out", file]) == 2, "there is no other"
    assert "there are no plans to export" in capsys.readouterr().err
