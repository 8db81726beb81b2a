"""The measures say what they are said to say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from declip_rt import Scorer
from declip_rt.model.bundle import EMBEDDED
from declip_rt.model.manifest import Card, Graph, Head, Manifest, Placement, ViewSpec
from tests.training import Recipe
from train import evaluate
from train.evaluate import monotonicity


def test_monotonicity_is_one_number_a_photo(recipe: Recipe, scorer: Scorer) -> None:
    falls = monotonicity(scorer, recipe.data, "dark")
    assert falls.shape == (4,)
    assert (np.abs(falls) <= 1).all()


BRIGHTNESS = """
<ir_version: 9, opset_import: ["": 18]>
brightness (uint8[N, 1, 64, 64, 3] pixels) => (float[N, 2] scores, float[N, 2] perceptual, float[N, 2] semantic) {
    values = Cast <to = 1> (pixels)
    axes = Constant <value = int64[3] {2, 3, 4}> ()
    mean = ReduceMean <keepdims = 0> (values, axes)
    slope = Constant <value = float[1] {SLOPE}> ()
    half = Constant <value = float[1] {0.5}> ()
    change = Mul (mean, slope)
    score = Add (half, change)
    scores = Concat <axis = 1> (score, score)
    perceptual = Identity (scores)
    semantic = Identity (scores)
}
"""


def brightness_bundle(folder: Path, slope: float) -> Path:
    """A bundle whose technical score is a half and `slope` times the mean grey level."""
    graph = onnx.parser.parse_model(BRIGHTNESS.replace("SLOPE", str(slope))).SerializeToString()
    (folder / "fp32.onnx").write_bytes(graph)
    sha256 = hashlib.sha256(graph).hexdigest()
    manifest = Manifest(
        schema=1,
        name="brightness",
        licence="CC0-1.0",
        checkpoint_sha256=sha256,
        views=ViewSpec(64, (Placement(64),)),
        graphs={"fp32": Graph("fp32.onnx", sha256)},
        heads=tuple(Head(name, "quality", "learned", "bad", "good") for name in ("technical", "aesthetic")),
        features=2,
        card=Card("brightness"),
    )
    (folder / "bundle.json").write_bytes(msgspec.json.encode(manifest))
    return folder


@pytest.mark.parametrize(("slope", "dark", "overexposed"), [(0.0019, -1, 1), (-0.0019, 1, -1), (0.0, 0, 0)])
def test_monotonicity_of_a_score_that_is_the_brightness(
    recipe: Recipe, tmp_path: Path, slope: float, dark: int, overexposed: int
) -> None:
    with Scorer(brightness_bundle(tmp_path, slope), "cpu") as scorer:
        for kind, expected in (("dark", dark), ("overexposed", overexposed)):
            assert monotonicity(scorer, recipe.data, kind).tolist() == pytest.approx([expected] * 4)


def test_every_figure_has_its_interval(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.i2t.lossless.LEAST", 130)
    monkeypatch.setattr("train.ladder.CODECS", {"JPEG": "jpeg"})
    monkeypatch.setattr("train.wording.LEAST", 2)
    measured = evaluate.measure(EMBEDDED / "declip-tiny", recipe.data)
    found = measured.figures
    assert [ladder.codec for ladder in measured.ladders] == ["JPEG"]
    assert len({figure.what for figure in found}) == len(found)
    for figure in found:
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low - 1e-6 <= figure.value <= figure.high + 1e-6
    for what in (
        "technical SRCC",
        "aesthetic PLCC",
        "strength of blur",
        "largest rise",
        "animal",
        "dim",
    ):
        assert any(what in figure.what for figure in found), what


def test_a_bundle_without_a_text_tower_is_measured_without_words(recipe: Recipe, tmp_path: Path) -> None:
    found = [figure.what for figure in evaluate.measure(brightness_bundle(tmp_path, 0.0019), recipe.data).figures]
    assert len(found) == 9
    assert not any("words" in what for what in found)
