"""`declip-rt build` and `declip-rt plans` as users run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run

RECIPE = 'library = "tensorrt_rtx"\ngraph = "fp32"\nbatches = [1]\n'


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path / "plans"))
    (tmp_path / "rtx.toml").write_text(RECIPE)
    return tmp_path / "rtx.toml"


def test_build_list_show_prune_and_clear(declip: Run, recipe: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="NOT RUN, TensorRT for RTX is not installed")
    first = declip("build", "--recipe", recipe, "--for", "SM89, sm86")
    assert first.returncode == 0, first.stderr
    plans = [Path(line) for line in first.stdout.decode().splitlines()]
    assert len(plans) == 2, "one for each"
    assert all(plan.stat().st_size > 1e6 for plan in plans)
    assert b"building a plan for declip-tiny: there is none yet" in first.stderr
    again = declip("build", "--recipe", recipe, "--for", "sm89")
    assert (again.stdout.decode().strip(), again.stderr) == (str(plans[1]), b"")

    listed = declip("engines").stdout.decode()
    assert plans[0].stem[:12] in listed
    assert "declip-tiny, tensorrt_rtx" in listed
    assert "fp32, batches 1, for sm86, built" in listed
    shown = json.loads(declip("engines", "show", plans[1].stem[:8]).stdout)
    assert shown["origin"]["targets"] == ["sm89"]

    with plans[0].open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\xff\x00\xff")
    assert b"is damaged" in declip("build", "--recipe", recipe, "--for", "sm86").stderr
    assert b"removed " + plans[0].stem[:12].encode() in declip("engines", "prune", "--most", "0").stdout
    assert declip("engines", "list").stdout == b"no plans are built; declip-rt build makes one\n"
    assert declip("engines", "clear").stdout == b"removed 0 plans\n"


def test_plans_go_to_another_cache(declip: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="NOT RUN, TensorRT for RTX is not installed")
    built = Path(declip("build", "--recipe", recipe, "--for", "sm89").stdout.decode().strip())
    file, said = tmp_path / "sm89.declip-plans", f"{built.stem[:12]} (declip-tiny, tensorrt_rtx".encode()
    assert b"exported " + said in declip("plans", "export", built.stem[:6], "--out", file).stdout

    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path / "elsewhere"))
    assert b"imported " + said in declip("plans", "import", file).stdout
    again = declip("build", "--recipe", recipe, "--for", "sm89")
    assert again.stderr == b"", "it is not built"
    found = Path(again.stdout.decode().strip())
    assert (found.parent, found.read_bytes()) == (tmp_path / "elsewhere", built.read_bytes())
    assert b"left as it is, as its key is known already: " + said in declip("plans", "import", file).stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("export", "--out", "x"), "name plans by the start of their keys, or take all by --all"),
        (("export", "abc", "--all", "--out", "x"), "or take all by --all"),
        (("export", "abc", "--out", "x"), "0 plans have a key that starts with 'abc'"),
        (("export", "--all", "--out", "x"), "there are no plans to export; declip-rt build makes one"),
        (("import", "x"), "cannot import x: "),
    ],
)
def test_what_cannot_travel_is_said(line: tuple[str, ...], said: str, declip: Run, recipe: Path) -> None:
    done = declip("plans", *line)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert not Path("x").exists()


def test_without_a_gpu_the_remedy_is_named(declip: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = declip("build", "--recipe", recipe)
    assert done.returncode == 2
    assert done.stderr.decode().strip().endswith("or name the GPUs to build for: --for sm89,sm120")
