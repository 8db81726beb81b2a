"""A plan is built once, kept whole, and never used where it is damaged or was made for something else."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import msgspec
import pytest

from declip_rt import ConfigError
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import Plans, Proof
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model.manifest import Parity

ORIGIN = Origin(graph_sha256="a" * 64, recipe=Recipe(), version="11.0", gpu="L4", capability="8.9", driver="580.1")
PASSED = Parity(n=8, change=0.0, cosine=1.0)
OTHERS = {
    "graph_sha256": "b" * 64,
    "recipe": Recipe(batches=(1,)),
    "version": "11.1",
    "gpu": "T4",
    "capability": "7.5",
    "driver": "590",
    "targets": ("sm89",),
}


def get(plans: Plans, origin: Origin = ORIGIN, content: bytes = b"plan") -> tuple[bytes, list[str]]:
    """What is found, and what was logged: nothing where it was there."""
    log, lines = logging.getLogger("declip_rt.backends.trt.plans"), list[str]()
    log.setLevel(logging.INFO)
    log.addFilter(note := lambda record: not lines.append(record.getMessage()))
    try:
        return plans.get(origin, "a model", lambda: content), lines
    finally:
        log.removeFilter(note)


def test_it_is_built_once(tmp_path: Path) -> None:
    plans = Plans(tmp_path / "new")
    assert get(plans) == (b"plan", ["building a plan for a model: there is none yet"])
    assert get(plans, content=b"other") == (b"plan", [])


def test_a_new_folder_is_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        get(Plans(tmp_path / "new"))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=r"everybody may write to .*: chmod o-w .*, or set DECLIP_RT_CACHE"):
        get(Plans(tmp_path))


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a file away")
@pytest.mark.parametrize("suffix", ["plan", "json"])
def test_what_someone_else_put_there_is_built_again(tmp_path: Path, suffix: str) -> None:
    plans = Plans(tmp_path)
    get(plans)
    os.chown(tmp_path / f"{ORIGIN.key}.{suffix}", 12345, -1)
    found, (said,) = get(plans, content=b"ours")
    assert (found, said.split(": ")[1]) == (b"ours", "the one that there was belongs to someone else")


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir(0o700)
    (tmp_path / "victim").write_bytes(b"dear")
    for name in (f"{ORIGIN.key}.plan.partial", f"{ORIGIN.key}.json.partial"):
        (tmp_path / "plans" / name).symlink_to(tmp_path / "victim")
    assert get(Plans(tmp_path / "plans"))[0] == b"plan"
    assert (tmp_path / "victim").read_bytes() == b"dear"


@pytest.mark.parametrize("field", OTHERS)
def test_anything_it_depends_on_makes_another_plan(field: str, tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    other = msgspec.structs.replace(ORIGIN, **{field: OTHERS[field]})
    found, (said,) = get(plans, other, b"another")
    assert found == b"another"
    if field == "driver":
        assert said.endswith("the last was for driver 580.1, not 590")
    assert get(plans) == (b"plan", [])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file, sidecar: file.write_bytes(b"pla"), "has 3 bytes, not 4"),
        (lambda file, sidecar: file.write_bytes(b"plam"), "is damaged"),
        (lambda file, sidecar: file.unlink(), "is gone"),
        (lambda file, sidecar: sidecar.write_text("{"), "cannot be read"),
        (lambda file, sidecar: sidecar.write_text(sidecar.read_text().replace("L4", "T4")), "cannot be read"),
        (lambda file, sidecar: sidecar.unlink(), "there is none yet"),
    ],
)
def test_what_is_damaged_is_built_again(damage: object, reason: str, tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    damage(plans.file(ORIGIN.key), plans.sidecar(ORIGIN.key))  # type: ignore[operator]
    found, (said,) = get(plans, content=b"new")
    assert found == b"new"
    assert reason in said
    assert get(plans) == (b"new", [])


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    with pytest.raises(ZeroDivisionError):
        plans.get(ORIGIN, "a model", lambda: bytes(1 // 0))
    assert list(plans.all()) == []
    assert not plans.file(ORIGIN.key).exists()


def slowly(folder: Path, content: bytes) -> None:
    def build() -> bytes:
        with (folder / "built").open("ab") as log:
            log.write(b".")
        time.sleep(0.5)
        return content

    Plans(folder).get(ORIGIN, "a model", build)


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=slowly, args=(tmp_path, content)) for content in (b"one", b"two")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "built").read_bytes() == b"."


def test_the_least_used_go_first(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    origins = [msgspec.structs.replace(ORIGIN, gpu=name) for name in "abc"]
    for i, origin in enumerate(origins):
        get(plans, origin, b"x" * 10)
        os.utime(plans.file(origin.key), (i, i))
    get(plans, origins[0])
    assert [plan.origin.gpu for plan in plans.all()] == ["a", "c", "b"]
    assert [plan.origin.gpu for plan in plans.prune(20)] == ["b"]
    assert get(Plans(tmp_path, most=5), origins[1], b"y" * 10)[0] == b"y" * 10, "the one asked for stays"
    assert [plan.origin.gpu for plan in plans.all()] == ["b"]


def test_clearing_leaves_an_empty_folder(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    get(plans, msgspec.structs.replace(ORIGIN, gpu="T4"))
    plans.prove(ORIGIN, Proof(PASSED, b"kernels"))
    plans.timing(ORIGIN).write_bytes(b"measured")
    (tmp_path / "of-a-crash.plan.partial").write_bytes(b"pl")
    assert plans.clear() == 2
    assert list(tmp_path.iterdir()) == []


def test_one_is_found_by_the_start_of_its_key(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    assert plans.find(ORIGIN.key[:6]).origin == ORIGIN
    with pytest.raises(ConfigError, match=f"0 plans have a key that starts with 'zz'; there are: {ORIGIN.key[:12]}"):
        plans.find("zz")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot use the plans in .*file.*DECLIP_RT_CACHE"):
        get(Plans(tmp_path / "file"))


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLIP_RT_CACHE", str(tmp_path))
    assert Plans().folder == tmp_path
    monkeypatch.delenv("DECLIP_RT_CACHE")
    assert Plans().folder.parts[-2:] == ("declip-rt", "plans")


@pytest.mark.parametrize("kernels", [b"", b"kernels"])
def test_a_proof_is_kept_until_the_plan_is_built_again(kernels: bytes, tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    assert plans.proof(ORIGIN) is None
    plans.prove(ORIGIN, Proof(PASSED, kernels))
    assert Plans(tmp_path).proof(ORIGIN) == Proof(PASSED, kernels)
    plans.file(ORIGIN.key).write_bytes(b"damaged")
    get(plans)
    assert plans.proof(ORIGIN) is None
    assert not plans.kernels(ORIGIN.key).exists()


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"kernel")])
def test_damaged_kernels_prove_nothing(damage: Callable[[Path], None], tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    plans.prove(ORIGIN, Proof(PASSED, b"kernels"))
    damage(plans.kernels(ORIGIN.key))
    assert plans.proof(ORIGIN) is None


def test_two_processes_may_prove_at_once(tmp_path: Path) -> None:
    get(Plans(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    started = [spawn.Process(target=_prove_often, args=(tmp_path, together)) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    assert Plans(tmp_path).proof(ORIGIN) == Proof(PASSED, b"kernels")


def _prove_often(folder: Path, together: Barrier) -> None:
    together.wait(60)
    for _ in range(200):
        Plans(folder).prove(ORIGIN, Proof(PASSED, b"kernels"))


def test_kernels_count_as_the_plan_does(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    get(plans)
    plans.prove(ORIGIN, Proof(PASSED, b"x" * 100))
    assert plans.prune(104) == []
    assert [plan.key for plan in plans.prune(103)] == [ORIGIN.key]
    assert not list(tmp_path.glob("*.kernels"))
