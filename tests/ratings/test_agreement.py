"""Agreement is what scipy and the reference procedure say it is, with intervals that mean something."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.stats import kendalltau, pearsonr, spearmanr

from declip_rt import ConfigError, Unavailable
from declip_rt.ratings.agreement import Logistic, measure

Array = NDArray[np.float64]


def rated(n: int, noise: float = 5.0, seed: int = 0) -> tuple[Array, Array]:
    """Scores in [0, 1], and a MOS that follows them on a bend, from about 20 to 80."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, 20 + 60 / (1 + np.exp((0.6 - scores) / 0.1)) + rng.normal(0, noise, n)


def vqeg(x: Array, top: float, bottom: float, middle: float, width: float) -> Array:
    return bottom + (top - bottom) / (1 + np.exp((middle - x) / abs(width)))


def test_rank_correlations_are_scipys_with_ties_too() -> None:
    scores, mos = (np.round(values, 1) for values in rated(80))
    found = measure(scores, mos)
    assert found.n == 80
    assert found.srcc.value == pytest.approx(spearmanr(scores, mos).statistic)
    assert found.krcc.value == pytest.approx(kendalltau(scores, mos).statistic)


def test_plcc_and_rmse_are_those_after_the_reference_fit() -> None:
    scores, mos = rated(200)
    best, _ = curve_fit(vqeg, scores, mos, (mos.max(), mos.min(), scores.mean(), scores.std()))
    found = measure(scores, mos)
    assert found.plcc.value == pytest.approx(pearsonr(vqeg(scores, *best), mos).statistic, abs=1e-4)
    assert found.rmse.value == pytest.approx(np.sqrt(np.mean((vqeg(scores, *best) - mos) ** 2)), abs=1e-3)


def test_plcc_sees_through_a_logistic() -> None:
    values = np.linspace(-3, 3, 80)
    truth = 20 + 60 / (1 + np.exp(-2 * (values - 0.5)))
    assert pearsonr(values, truth).statistic < 0.98
    found = measure(values, truth)
    assert found.plcc.value == pytest.approx(1, abs=1e-4)
    assert found.rmse.value == pytest.approx(0, abs=1e-2)
    fitted = Logistic.fit(values, truth)
    assert (fitted.top, fitted.bottom) == pytest.approx((80, 20), abs=0.1)
    assert (fitted.middle, fitted.width) == pytest.approx((0.5, 0.5), abs=0.01)


@pytest.mark.parametrize("shape", [lambda x: x, lambda x: x > 0.7, lambda x: np.exp(4 * x), lambda x: x == x.max()])
@pytest.mark.parametrize("n", [5, 50])
def test_there_is_always_a_fit_and_it_is_no_worse_than_a_line(shape, n: int) -> None:  # type: ignore[no-untyped-def]
    scores = np.linspace(0, 1, n)
    mos = np.asarray(shape(scores), float)
    assert measure(scores, mos).plcc.value >= pearsonr(scores, mos).statistic - 1e-3


def test_the_direction_is_a_sign_and_the_scale_of_the_scores_is_nothing() -> None:
    scores, mos = rated(60)
    found, other = measure(scores, mos), measure(100 - 1000 * scores, mos)
    for name in ("srcc", "plcc", "krcc"):
        up, down = getattr(found, name), getattr(other, name)
        assert up.value > 0.5
        assert (down.value, down.low, down.high) == pytest.approx((-up.value, -up.high, -up.low), abs=1e-6)
    assert other.rmse.value == pytest.approx(found.rmse.value, abs=1e-6)


def test_unrelated_scores_agree_with_nothing() -> None:
    rng = np.random.default_rng(0)
    found = measure(rng.random(500), rng.random(500))
    for estimate in (found.srcc, found.plcc, found.krcc):
        assert abs(estimate.value) < 0.2
        assert estimate.low < 0 < estimate.high


def test_constant_scores_agree_with_nothing() -> None:
    mos = np.linspace(0, 1, 20)
    found = measure(np.full(20, 0.3), mos)
    assert (found.srcc.value, found.plcc.value, found.krcc.value) == (0, 0, 0)
    assert found.rmse.value == pytest.approx(mos.std())


@pytest.mark.filterwarnings("ignore")  # of the reference
def test_intervals_are_those_of_a_bootstrap_that_fits_each_time() -> None:
    scores, mos = rated(60, noise=15)
    start, _ = curve_fit(vqeg, scores, mos, (80, 20, 0.5, 0.1))
    plccs, rmses = [], []
    rng = np.random.default_rng(1)
    for _ in range(500):
        drawn = rng.integers(0, 60, 60)
        fitted = vqeg(scores[drawn], *curve_fit(vqeg, scores[drawn], mos[drawn], start, maxfev=10_000)[0])
        plccs.append(pearsonr(fitted, mos[drawn]).statistic)
        rmses.append(np.sqrt(np.mean((fitted - mos[drawn]) ** 2)))
    found = measure(scores, mos)
    assert (found.plcc.low, found.plcc.high) == pytest.approx(np.percentile(plccs, (2.5, 97.5)), abs=0.02)
    assert (found.rmse.low, found.rmse.high) == pytest.approx(np.percentile(rmses, (2.5, 97.5)), abs=0.4)


def test_intervals_are_repeatable_and_shrink_with_more_photos() -> None:
    few, many = measure(*rated(40)), measure(*rated(400))
    assert few == measure(*rated(40))
    for name in ("srcc", "plcc", "krcc", "rmse"):
        narrow, wide = getattr(many, name), getattr(few, name)
        assert narrow.low < narrow.value < narrow.high
        assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_without_a_fit_the_scores_are_taken_as_they_are() -> None:
    mos = np.linspace(20, 80, 30)
    found = measure(mos + 10, mos, fitted=False)
    assert found.plcc.value == pytest.approx(1)
    assert found.rmse.value == found.rmse.low == found.rmse.high == pytest.approx(10)


@pytest.mark.parametrize(
    ("scores", "mos", "message"),
    [
        ([0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4], "at least 5 photos, not 4"),
        ([0.1] * 6, [1] * 7, r"not \(6,\) and \(7,\)"),
        ([0.1, 0.2, 0.3, 0.4, float("nan")], [1, 2, 3, 4, 5], "finite"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, float("inf")], "finite"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [3] * 5, "the MOS is 3 for all 5 photos"),
    ],
)
def test_what_cannot_be_measured_is_an_error(scores: list[float], mos: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure(scores, mos)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(Unavailable, match=r"declip-rt\[eval\]"):
        measure(*rated(20))


def test_the_command_line_starts_without_scipy_and_matplotlib() -> None:
    code = "import sys, declip_rt.commands.main; print({'scipy', 'matplotlib'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
