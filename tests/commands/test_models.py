"""`declip-rt models show` tells what a model was trained on and how well it does, within the terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from declip_rt import Bundle, BundleError
from declip_rt.commands.main import main
from declip_rt.commands.models import card
from declip_rt.model.manifest import Calibration, Card, Figure, Source

SETS = (
    Source("LIVE In the Wild Challenge", "free to use with its notice", "technical head", 651),
    Source("all-MiniLM-L6-v2", "Apache-2.0", "text tower"),
)
FIGURES = (
    Figure("technical SRCC, hold-out", 0.8123, 186, 0.7612, 0.8544),
    Figure("technical against strength, mean Spearman", -0.991, 1100),
)
REFERENCE = "186 photos: LIVE In the Wild val 93, OASIS val 33, pristine val 60, undistorted"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def shown(folder: Path, bundle: Bundle, **changes: object) -> list[str]:
    manifest = replace(bundle.manifest, card=Card("A model. " * 30, **changes))
    calibration = Calibration(REFERENCE, {"technical": Calibration.marks([0.1, 0.9])})
    replace(manifest, calibration=calibration).write(folder)
    return list(card(Bundle(folder, verify=False)))


def test_it_lists_the_training_data_and_their_terms(bundle: Bundle, tmp_path: Path) -> None:
    text = "\n".join(shown(tmp_path, bundle, data=SETS))
    assert "  LIVE In the Wild Challenge, 651 photos: technical head\n    terms: free to use with its notice" in text
    assert "  all-MiniLM-L6-v2: text tower\n    terms: Apache-2.0" in text


def test_figures_come_with_intervals_date_machine_and_command(bundle: Bundle, tmp_path: Path) -> None:
    told = {"command": "python -m train.evaluate BUNDLE", "date": "2026-11-26", "machine": "a CPU, 2 cores"}
    *_, heading, first, second = shown(tmp_path, bundle, figures=FIGURES, **told)
    assert all(word in heading for word in told.values())
    assert "0.812 (0.761 to 0.854)" in first
    assert "-0.991 " in second
    assert [first.index("0.812"), first.index("186")] == [second.index("0.991"), second.index("1,100") + 2]


def test_what_is_not_known_is_said(bundle: Bundle, tmp_path: Path) -> None:
    assert shown(tmp_path, bundle)[-2:] == ["trained on: not told", "accuracy: not measured"]


@pytest.mark.parametrize("columns", [80, 100])
def test_texts_keep_within_the_terminal(
    columns: int, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(tmp_path, bundle, data=(replace(SETS[0], terms="as its notice says, " * 20),))
    named = [line for line in lines if not line.startswith(f"{bundle.name} (")]  # with the folder, which is not broken
    assert columns / 2 < max(map(len, named)) <= columns


def test_percentiles_say_what_they_are_against(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"percentiles against: {REFERENCE}" in shown(tmp_path, bundle)
    main(["doctor"])
    calibration = bundle.manifest.calibration
    assert calibration is not None
    assert f"percentiles against {calibration.reference}" in capsys.readouterr().out


def test_cards_of_older_bundles_are_read() -> None:
    older = b'{"summary": "A model.", "figures": [{"what": "technical SRCC", "value": 0.65, "n": 186}]}'
    read = msgspec.json.decode(older, type=Card)
    assert read.data == ()
    assert str(read.figures[0]) == "0.650"


def test_a_source_without_terms_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    manifest = msgspec.to_builtins(bundle.manifest)
    manifest["card"]["data"] = [{"name": "photos of mine", "used_for": "technical head"}]
    (tmp_path / "bundle.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError, match="terms"):
        Bundle(tmp_path)
