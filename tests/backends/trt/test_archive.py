"""Plans go from one cache to another by a file, and nothing else comes out of a file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from declip_rt import ConfigError
from declip_rt.backends.trt import archive
from declip_rt.backends.trt.archive import read_archive, write_archive
from declip_rt.backends.trt.origin import Origin
from declip_rt.backends.trt.plans import Plans, Proof
from declip_rt.backends.trt.recipe import Recipe
from declip_rt.model.manifest import Parity
from tests.conftest import examples

ORIGIN = Origin(graph_sha256="a" * 64, recipe=Recipe(), version="11.0", gpu="L4", capability="8.9", driver="580.1")
OTHER = msgspec.structs.replace(ORIGIN, gpu="T4")
KEY = ORIGIN.key


def two_plans(folder: Path) -> Plans:
    """A cache of two plans, of which one is proven."""
    made = Plans(folder)
    for origin, data in ((ORIGIN, b"plan"), (OTHER, b"another plan")):
        made.get(origin, "a model", lambda data=data: data)  # type: ignore[misc]
    made.prove(ORIGIN, Proof(Parity(n=8, change=0.0, cosine=1.0), b"kernels"))
    return made


@pytest.fixture
def plans(tmp_path: Path) -> Plans:
    return two_plans(tmp_path / "here")


@pytest.fixture
def file(plans: Plans, tmp_path: Path) -> Path:
    write_archive(tmp_path / "all.declip-plans", plans, plans.all())
    return tmp_path / "all.declip-plans"


def test_plans_arrive_whole_and_unproven(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file) as made:
        assert json.loads(made.read(f"{KEY}.json"))["passed"] is None, "what was found here is nobody else's"
    there = Plans(tmp_path / "there")
    assert [there.add(plan, data) for plan, data in read_archive(file)] == [True, True]
    for origin, data in ((ORIGIN, b"plan"), (OTHER, b"another plan")):
        assert there.get(origin, "a model", lambda: b"built") == data
        assert there.proof(origin) is None
    assert not list((tmp_path / "there").glob("*.kernels"))


def test_what_is_known_stays(plans: Plans, file: Path, tmp_path: Path) -> None:
    there = Plans(tmp_path / "there")
    there.get(ORIGIN, "a model", lambda: b"built here")
    there.get(OTHER, "a model", lambda: b"another plan")
    there.refuse(OTHER, "it scores otherwise", "us")
    assert [there.add(plan, data) for plan, data in read_archive(file)] == [False, False]
    assert there.get(ORIGIN, "a model", lambda: b"") == b"built here"
    assert there.refusal(OTHER, "us") == "it scores otherwise"
    assert not there.file(OTHER.key).exists()


def test_what_is_refused_or_damaged_is_not_written(plans: Plans, tmp_path: Path) -> None:
    plans.refuse(OTHER, "it scores otherwise", "us")
    with pytest.raises(ConfigError, match="cannot be used: it scores otherwise"):
        write_archive(tmp_path / "file", plans, [plans.find(OTHER.key)])
    plans.file(KEY).write_bytes(b"plam")
    with pytest.raises(ConfigError, match="cannot be used: the one that there was is damaged"):
        write_archive(tmp_path / "file", plans, [plans.find(KEY)])
    assert not (tmp_path / "file").exists()


def forged(tmp_path: Path, entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(tmp_path / "forged", "w", compression) as made:
        for name, data in entries:
            made.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return tmp_path / "forged"


def sidecar(**changes: object) -> bytes:
    """Of a plan whose content is b"plan"."""
    sha256 = hashlib.sha256(b"plan").hexdigest()
    made = {"origin": msgspec.to_builtins(ORIGIN), "model": "m", "sha256": sha256, "size": 4, "built": "2026-01-01"}
    return json.dumps(made | changes).encode()


PLAN, SIDE = (f"{KEY}.plan", b"plan"), (f"{KEY}.json", sidecar())
RENAMED = Origin(graph_sha256="a" * 64, recipe=Recipe(), version="11.0\x1b[2J")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([SIDE, PLAN, ("../../.bashrc", b"x")], r"'\.\./\.\./\.bashrc', which is no plan"),
        ([SIDE, PLAN, ("/etc/passwd", b"x")], "'/etc/passwd', which is no plan"),
        ([SIDE, PLAN, (f"sub/{KEY}.plan", b"x")], "which is no plan"),
        ([SIDE, PLAN, (f"{KEY}.kernels", b"x")], "which is no plan"),
        ([SIDE, PLAN, PLAN], "there twice"),
        ([SIDE], "is missing"),
        ([], "it holds no plan"),
        ([PLAN], "is missing"),
        ([SIDE, (f"{KEY}.plan", b"plam")], "is not the one that its sidecar describes"),
        ([SIDE, (f"{KEY}.plan", b"plan and more")], "is not the one that its sidecar describes"),
        ([(f"{OTHER.key}.json", sidecar()), (f"{OTHER.key}.plan", b"plan")], "is of another plan"),
        ([(f"{KEY}.json", b"{"), PLAN], "truncated"),
        ([(f"{KEY}.json", b'{"x": ' + b"[" * 60_000), PLAN], "recursion"),
        ([(f"{KEY}.json", b" " * 70_000), PLAN], "is larger than 64 KiB"),
        ([(f"{KEY}.json", sidecar(model="m\x1b]0;owned\x07")), PLAN], "control characters"),
        ([(f"{KEY}.json", sidecar(model="m" * 300)), PLAN], "too long"),
        (
            [
                (f"{RENAMED.key}.json", sidecar(origin=msgspec.to_builtins(RENAMED))),
                (f"{RENAMED.key}.plan", b"plan"),
            ],
            "control characters",
        ),
    ],
)
def test_a_forged_file_is_refused(entries: list[tuple[str, bytes]], said: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate") if entries.count(PLAN) > 1 else nullcontext():
        path = forged(tmp_path, entries)
    with pytest.raises(ConfigError, match=rf"cannot import .*forged: .*{said}"):
        list(read_archive(path))


def test_nothing_of_it_is_believed_that_this_machine_has_to_find(tmp_path: Path) -> None:
    passed = {"n": 8, "change": 0.0, "cosine": 1.0}
    claims = sidecar(passed=passed, passed_at="here", kernels_sha256="b" * 64, refused="no", refused_by="us")
    ((plan, _),) = read_archive(forged(tmp_path, [(f"{KEY}.json", claims), PLAN]))
    assert (plan.passed, plan.passed_at, plan.kernels_sha256, plan.refused, plan.refused_by) == (None, "", "", "", "")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = forged(tmp_path, [SIDE, (f"{KEY}.plan", b"\0" * 10**7)], zipfile.ZIP_DEFLATED)
    with pytest.raises(ConfigError, match="is compressed"):
        list(read_archive(bomb))
    monkeypatch.setattr(archive, "CACHE_BYTES", 100)
    with pytest.raises(ConfigError, match="larger than the file, or than a cache"):
        list(read_archive(forged(tmp_path, [SIDE, PLAN])))


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path, file: Path) -> None:
    """Each would be read and written anew."""
    with zipfile.ZipFile(file) as made, pytest.raises(ConfigError, match="larger than the file"):
        archive._keys(made, sum(each.file_size for each in made.infolist()) - 1)


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match=r"photo\.jpg: File is not a zip file; declip-rt plans export writes"):
        list(read_archive(tmp_path / "photo.jpg"))
    with pytest.raises(ConfigError, match=r"No such file.*none"):
        list(read_archive(tmp_path / "none"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of plans."""
    folder = tmp_path_factory.mktemp("place")
    plans = two_plans(folder / "here")
    write_archive(folder / "file", plans, plans.all())
    return folder


@examples(150)
@given(where=st.floats(0, 1), byte=st.integers(0, 255), is_cut=st.booleans())
def test_a_damaged_file_gives_whole_plans_or_an_error(where: float, byte: int, is_cut: bool, place: Path) -> None:
    data = bytearray((place / "file").read_bytes())
    at = min(int(where * len(data)), len(data) - 1)
    data[at] = byte
    (place / "damaged").write_bytes(data[:at] if is_cut else data)
    try:
        found = {plan.key: content for plan, content in read_archive(place / "damaged")}
    except ConfigError:
        found = {}
    assert found.items() <= {KEY: b"plan", OTHER.key: b"another plan"}.items()
