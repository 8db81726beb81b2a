"""`declip-rt calibrate` writes a bundle that says what its scores mean to the user's own raters."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from declip_rt import Bundle, ConfigError, Scorer
from declip_rt.commands.main import main
from declip_rt.ratings.agreement import measure
from declip_rt.ratings.mos_map import fit


@pytest.fixture(scope="module")
def calibrated(rated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "new"
    assert main(["calibrate", str(rated), "--out", str(out), "--quiet"]) == 0
    return out


def mos(rated: Path) -> list[float]:
    with (rated / "scores.csv").open(newline="") as file:
        return [float(row["mos"]) for row in csv.DictReader(file)]


def photos(rated: Path) -> list[Path]:
    return [rated / "images" / f"{i}.png" for i in range(12)]


def test_the_map_is_the_logistic_between_the_photos_and_flat_beyond() -> None:
    scores = np.linspace(0.2, 0.9, 40)
    found = fit(scores, 20 + 60 / (1 + np.exp((0.5 - scores) / 0.1)), dataset="mine")
    for score in (0.2, 0.37, 0.5, 0.81, 0.9):
        assert found(score) == pytest.approx(20 + 60 / (1 + np.exp((0.5 - score) / 0.1)), abs=0.05)
    assert found(0.0) == found(0.2)
    assert found(1.0) == found(0.9)


def test_a_map_never_turns_back_however_noisy_the_photos() -> None:
    rng = np.random.default_rng(0)
    scores = np.append(rng.random(30), 0.99)
    mos = np.append(10 * scores[:30] + rng.normal(0, 4, 30), -5)
    steps = np.diff(fit(scores, mos, dataset="mine").values)
    assert (steps >= 0).all()
    assert steps.max() > 0


def test_its_agreement_is_that_of_photos_that_it_was_not_fit_to() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(30)
    ratings = 10 * scores + rng.normal(0, 4, 30)
    seen, unseen = measure(scores, ratings), fit(scores, ratings, dataset="mine").agreement
    assert unseen.n == 30
    assert unseen.rmse.value > seen.rmse.value
    assert unseen.plcc.value < seen.plcc.value


def test_the_direction_must_be_meant() -> None:
    scores = np.linspace(0, 1, 20)
    with pytest.raises(ConfigError, match=r"falls as the score rises; .*add --lower-is-better"):
        fit(scores, 5 - scores, dataset="mine")
    with pytest.raises(ConfigError, match=r"rises as the score rises; leave out --lower-is-better"):
        fit(scores, 5 + scores, dataset="mine", falling=True)
    assert fit(scores, 5 - scores, dataset="mine", falling=True)(0.25) == pytest.approx(4.75, abs=0.01)
    with pytest.raises(ConfigError, match=r"says nothing of this MOS: SRCC .*choose another --head, or more photos"):
        fit(scores, np.tile([1.0, 2.0], len(scores) // 2), dataset="mine")
    with pytest.raises(ConfigError, match="the same for all photos"):
        fit(np.full(20, 0.5), scores, dataset="mine")
    with pytest.raises(ConfigError, match="at least 10 rated photos, not 9"):
        fit(scores[:9], scores[:9], dataset="mine")


def test_the_new_bundle_gives_mos_and_is_else_the_same(calibrated: Path, rated: Path, scorer: Scorer) -> None:
    with Scorer(calibrated, "cpu") as new:
        scores = list(new.score_many(photos(rated)))
    found = [score.mos["technical"] for score in scores if score.mos]
    assert found == pytest.approx(mos(rated), abs=8)
    assert json.loads(json.dumps(scores[0].to_dict()))["mos"] == {"technical": found[0]}
    old = scorer.score(photos(rated)[0])
    assert old.mos == {}
    assert (old.technical, old.percentile) == (scores[0].technical, scores[0].percentile)
    assert sorted(file.name for file in calibrated.parent.iterdir()) == ["new"], "nothing but the bundle is left"


def test_it_is_shown_and_its_rows_and_tables_have_the_mos(
    calibrated: Path, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Bundle(calibrated).mos["technical"]
    assert main(["models", "show", str(calibrated)]) == 0
    shown = capsys.readouterr().out
    assert f"technical_mos: {found.values[0]:.3f} to {found.values[-1]:.3f}, mos of rated" in shown
    assert f"cross-validated: SRCC {found.agreement.srcc}" in shown
    out, page = tmp_path / "out.csv", tmp_path / "out.html"
    files = ["--out", str(out), "--html", str(page)]
    assert main(["score", *map(str, photos(rated)), "--model", str(calibrated), "--quiet", *files]) == 0
    heading, first, *_ = capsys.readouterr().out.splitlines()
    with out.open(newline="") as file:
        row = next(csv.DictReader(file))
    assert list(row)[list(row).index("percentile") + 1] == "technical_mos"
    assert float(row["technical_mos"]) == pytest.approx(found(float(row["technical"])))
    at = heading.split().index("technical_mos")
    assert first.split()[at] == f"{float(row['technical_mos']):.3f}"


def test_a_second_head_joins_the_first(calibrated: Path, rated: Path, tmp_path: Path) -> None:
    command = ["calibrate", str(rated), "--model", str(calibrated), "--head", "sharpness", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "both")]) == 0
    both = Bundle(tmp_path / "both")
    assert list(both.mos) == ["technical", "sharpness"]
    assert both.mos["technical"] == Bundle(calibrated).mos["technical"]


def test_percentiles_against_the_users_photos(rated: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    assert main(["calibrate", str(rated), "--out", str(out), "--percentiles", "--quiet"]) == 0
    new = Bundle(out)
    assert new.manifest.calibration is not None
    assert new.manifest.calibration.reference.startswith("12 photos of rated")
    assert new.manifest.calibration.percentiles.keys() == {head.name for head in bundle.heads}
    with Scorer(out, "cpu") as scorer:
        ranks = [score.percentile for score in scorer.score_many(photos(rated))]
    assert sorted(ranks)[::11] == pytest.approx([0, 100], abs=0.1)  # type: ignore[type-var]


def test_a_bundle_without_a_reference_can_be_calibrated(
    rated: Path, tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = Path(shutil.copytree(bundle.path, tmp_path / "bare"))
    (bare / "bundle.json").write_text(
        json.dumps(json.loads((bare / "bundle.json").read_text()) | {"calibration": None})
    )
    out = tmp_path / "new"
    assert main(["calibrate", str(rated), "--model", str(bare), "--out", str(out), "--quiet"]) == 0
    assert Bundle(out).percentile("technical", 0.5) is None
    page = tmp_path / "page.html"
    assert main(["score", str(photos(rated)[0]), "--model", str(out), "--html", str(page)]) == 0
    assert main(["models", "show", str(out)]) == 0
    assert "percentiles against" not in page.read_text() + capsys.readouterr().out


def test_nothing_is_overwritten(rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("x")
    for out in (tmp_path / "full", tmp_path / "full" / "precious.txt"):
        assert main(["calibrate", str(rated), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "exists already; name a new folder" in said
        assert "model declip-tiny" not in said, "nothing is scored in vain"
    assert main(["calibrate", str(rated), "--out", str(tmp_path / "no" / "where")]) == 2
    assert "its folder does not exist" in capsys.readouterr().err


def test_a_failed_photo_is_left_out_and_tells_in_the_exit_code(
    rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Path(shutil.copytree(rated, tmp_path / "dataset"))
    (dataset / "images" / "3.png").write_bytes(b"junk")
    assert main(["calibrate", str(dataset), "--out", str(tmp_path / "new")]) == 1
    said = capsys.readouterr()
    assert "3.png: " in said.err
    assert said.out.startswith("technical_mos against mos of dataset, cross-validated\n")
    assert Bundle(tmp_path / "new").mos["technical"].agreement.n == 11
