"""An engine is compared with its reference once on a machine; what was found is kept, good or bad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from declip_rt import Bundle, EngineError, ParityError
from declip_rt.backends import cache, parity, proofs
from declip_rt.backends.contract import EngineInfo, EngineOptions
from declip_rt.backends.host import HostEngine
from declip_rt.backends.onnxrt.cpu import open_onnx
from declip_rt.stats import Stats


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[parity.Proof]:
    """The comparisons that were made."""
    made: list[parity.Proof] = []
    measure = parity.measure

    def count(engine: HostEngine, bundle: Bundle) -> parity.Proof:
        made.append(measure(engine, bundle))
        return made[-1]

    monkeypatch.setattr(parity, "measure", count)
    return made


def opened(bundle: Bundle, batch: int = 2) -> HostEngine:
    return open_onnx(bundle, EngineOptions(device="cpu", precision="fp32", batch=batch), Stats())


def test_the_second_start_compares_nothing(bundle: Bundle, place: Path, compared: list[parity.Proof]) -> None:
    for _ in range(2):
        engine = opened(bundle)
        proofs.prove(engine, bundle)
        assert not engine.is_closed
        engine.close()
    assert len(compared) == 1
    assert len(list(place.glob("*.proof"))) == 1
    engine = opened(bundle, batch=3)
    proofs.prove(engine, bundle)
    engine.close()
    assert len(compared) == 2, "another batch is another engine"


def test_a_refusal_is_kept_with_its_figures(
    bundle: Bundle, place: Path, compared: list[parity.Proof], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "BATCH_EFFECT", -1.0)
    said = set()
    for _ in range(2):
        engine = opened(bundle)
        with pytest.raises(ParityError, match="does not score as the reference does: lowest cosine") as caught:
            proofs.prove(engine, bundle)
        assert engine.is_closed
        said.add(str(caught.value))
    assert (len(compared), len(said)) == (1, 1)


def test_a_damaged_proof_is_made_again(bundle: Bundle, place: Path, compared: list[parity.Proof]) -> None:
    for _ in range(2):
        engine = opened(bundle)
        proofs.prove(engine, bundle)
        engine.close()
        next(place.glob("*.proof")).write_bytes(b'{"parity": "\xff"}')
    assert len(compared) == 2


def test_a_proof_by_another_name_proves_nothing(bundle: Bundle, place: Path, compared: list[parity.Proof]) -> None:
    for batch in (2, 3):
        engine = opened(bundle, batch)
        for kept in place.glob("*.proof"):
            kept.rename(place / f"{proofs._key(engine, bundle)}.proof")
        proofs.prove(engine, bundle)
        engine.close()
    assert len(compared) == 2


@pytest.mark.parametrize(
    "change",
    [{"name": "another"}, {"precision": "bf16"}, {"batch": 9}, {"lanes": 9}, {"flags": {"amx"}}, {"graphs": {}}],
)
def test_what_makes_another_engine(change: dict[str, Any], bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = (SimpleNamespace(info=EngineInfo("openvino", None, "OpenVINO", "int8", 8, 4)) for _ in range(2))
    before = proofs._key(engine, bundle)
    assert proofs._key(other, bundle) == before
    if "flags" in change:
        monkeypatch.setattr(proofs, "flags", lambda: change["flags"])
    elif "graphs" in change:
        monkeypatch.setattr(bundle, "manifest", msgspec.structs.replace(bundle.manifest, **change))
    else:
        other.info = replace(other.info, **change)
    assert proofs._key(other, bundle) != before


def test_a_folder_that_cannot_be_used_is_no_obstacle(
    bundle: Bundle, place: Path, compared: list[parity.Proof], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_text("a file")
    engine = opened(bundle)
    proofs.prove(engine, bundle)
    engine.close()
    place.unlink()
    place.mkdir()
    place.chmod(0o777)
    engine = opened(bundle)
    proofs.prove(engine, bundle)
    engine.close()
    assert not list(place.glob("*.proof")), "nothing is kept where everybody may write"


def test_a_proof_of_where_everybody_may_write_is_not_read(bundle: Bundle, place: Path) -> None:
    """Another could have put it there, for an engine that does not score alike."""
    engine = opened(bundle)
    proofs.prove(engine, bundle)
    engine.close()
    place.chmod(0o777)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "measure", lambda *_: (_ for _ in ()).throw(EngineError("compared")))
        engine = opened(bundle)
        with pytest.raises(EngineError, match="compared"):
            proofs.prove(engine, bundle)
        engine.close()
