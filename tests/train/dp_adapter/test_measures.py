"""Figures of cases made by hand."""

import numpy as np
import pytest

from train.dp_adapter import measures, report
from train.dp_adapter.looks import ATTRIBUTES
from train.dp_adapter.measures import Drawn, estimate

COUNT, PHOTOS = 64, 8


def drawn(look: str, content: str, seed: int = 0) -> Drawn:
    """Results that follow the look of one reference and the content of one, perfectly."""
    rng = np.random.default_rng(seed)
    wanted = {name: rng.random((COUNT, len(ATTRIBUTES))) for name in ("perceptual", "semantic")}
    photo = rng.integers(PHOTOS, size=COUNT)
    photos = {"semantic": photo, "perceptual": (photo + rng.integers(1, PHOTOS, COUNT)) % PHOTOS}
    dials = {name: rng.random((3, COUNT, len(ATTRIBUTES) + 1)) for name in wanted}
    dials["perceptual"][:, :, 0] = np.arange(3)[:, None]
    dials["semantic"][:, :, 0] = 0.1 * np.arange(3)[:, None]
    margins = {name: np.full(COUNT, 0.2) for name in wanted}
    return Drawn(
        attributes=wanted[look] * 2 + 1,
        wanted=wanted,
        nearest=photos[content],
        photos=photos,
        margins=margins,
        qualities={"technical": np.full(COUNT, 0.7)},
        dials=dials,
        changes={name: np.full(COUNT, 5.0) for name in wanted},
        unshown=photos["perceptual"],
    )


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "RESAMPLES", 200)


EVERY = np.arange(COUNT)


def test_perfect_control_has_the_index_1_less_what_chance_leaks():
    good = drawn("perceptual", "semantic")
    leak = np.mean([abs(measures.follows(name, "semantic")(good, EVERY)) for name in ATTRIBUTES])
    assert measures.disentanglement(good, EVERY) == pytest.approx(1 - leak / 2)


def test_the_wrong_references_have_an_index_near_minus_1():
    assert measures.disentanglement(drawn("semantic", "perceptual"), EVERY) < -0.8


def test_one_reference_for_both_has_an_index_near_0():
    assert abs(measures.disentanglement(drawn("perceptual", "perceptual"), EVERY)) < 0.1


def test_content_is_counted_in_times_of_chance():
    good = drawn("perceptual", "semantic")
    assert measures.shows("semantic", PHOTOS)(good, EVERY) == PHOTOS
    assert measures.shows("perceptual", PHOTOS)(good, EVERY) == 0
    assert measures.shows_without(PHOTOS)(good, EVERY) == 0


def test_dials_that_rise_are_monotone_and_random_ones_are_not():
    good = drawn("perceptual", "semantic")
    assert measures.monotone("perceptual", 0)(good, EVERY) == 1
    assert 0.1 < measures.monotone("perceptual", 1)(good, EVERY) < 0.6  # a third of three random values
    assert measures.crosstalk(0)(good, EVERY) == pytest.approx(0.1)


def test_an_interval_holds_the_value_and_is_wider_where_trainings_differ():
    alike = [drawn("perceptual", "semantic", seed) for seed in range(3)]
    differing = [*alike[:2], drawn("perceptual", "perceptual")]
    narrow, wide = (estimate(measures.shows("semantic"), some) for some in (alike, differing))
    assert (narrow.value, narrow.low, narrow.high) == (1, 1, 1)
    assert wide.value == pytest.approx(2 / 3)
    assert wide.low < 0.34 < 0.99 < wide.high


def test_a_difference_is_of_the_same_pairs():
    some = [drawn("perceptual", "semantic", seed) for seed in range(3)]
    worse = [drawn("perceptual", "perceptual", seed) for seed in range(3)]
    none, much = (measures.difference(measures.disentanglement, some, other) for other in (some, worse))
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert (much.value, much.low, much.high) == pytest.approx((1, 1, 1))


def test_the_report_has_every_figure_and_says_what_holds():
    systems = {"dp_adapter": ("perceptual", "semantic"), "coarse": ("perceptual", "perceptual")}
    found = report.figures(
        {name: [drawn(*obeyed, seed) for seed in range(3)] for name, obeyed in systems.items()}, PHOTOS
    )
    keys = {
        "transfer.noise.coarse",
        "look_leak.noise.coarse",
        "content.coarse.semantic",
        "content.dp_adapter.perceptual",
    }
    assert keys | {"disentanglement.coarse", "dial.noise.monotone", "quality.technical.coarse"} <= found.keys()
    told = {f"probe.{what}.{name}" for what in ("photo", *ATTRIBUTES) for name in ("perceptual", "semantic", "coarse")}
    found |= dict.fromkeys({"base.words", *told}, found["content.coarse.semantic"])
    facts = {"photos": PHOTOS, "side": 32, "held_out": 2, "trainings": 3, "pairs": COUNT}
    facts |= {"base_steps": 1, "adapter_steps": 1, "steps": 2, "guidance": 3.0}
    assert "by: Ann https://a." in report.page(found, facts, "", ["Ann https://a"])
    assert "| transfer: noise | 1.000" in report.page(found, facts, "", ["Ann https://a"])
    said = [verdict.holds for verdict in report.verdicts(found, tuple(systems))]
    assert said == [True, True, True, True, True]
    worse = found | {"transfer.noise.dp_adapter": found["look_leak.noise.dp_adapter"]}
    assert not report.verdicts(worse, tuple(systems))[0].holds
