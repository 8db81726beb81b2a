"""Pooling by the formulas, and what is low by the clip's own measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from declip_rt.video.timeline import Percentiles, low, pool

RANKS = np.linspace(0, 1, 101)
REFERENCE: Percentiles = {  # technical: percentile 10 is 0.44, a spread 0.136; attributes: 0.34
    "technical": (0.4 + 0.4 * RANKS).tolist(),
    "sharpness": RANKS.tolist(),
    "noisiness": RANKS.tolist(),
}


def heads(technical: Sequence[float], **attributes: Sequence[float]) -> dict[str, np.ndarray]:
    still = {"sharpness": [0.5] * len(technical), "noisiness": [0.5] * len(technical)}
    return {name: np.array(values, float) for name, values in ({"technical": technical} | still | attributes).items()}


def found(technical: Sequence[float], cuts: Sequence[float] = (), **attributes: Sequence[float]) -> list[tuple]:
    times = np.arange(len(technical), dtype=float)
    events = low(times, heads(technical, **attributes), cuts, REFERENCE, float(len(technical)))
    assert {event.kind for event in events} <= {"low"}
    return [(event.start, event.end) for event in events]


def by_definition(times: np.ndarray, values: np.ndarray, end: float, fine: float = 0.001) -> float:
    """The mean of half the worst of the last 2 s and half the soft minimum of the next 2 s, sampled finely."""
    grid = np.arange(times[0] + fine / 2, end, fine)
    q = values[np.searchsorted(times, grid, "right") - 1]
    soft = np.exp(-q / 0.1)
    width = round(2 / fine)
    worst = [q[max(0, i - width + 1) : i + 1].min() for i in range(len(q))]
    present = [(q[i : i + width] @ soft[i : i + width]) / soft[i : i + width].sum() for i in range(len(q))]
    return float(np.mean(0.5 * np.array(worst) + 0.5 * np.array(present)))


def test_hysteresis_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 25):
        times = np.cumsum(rng.uniform(0.05, 1.5, count))
        values = rng.uniform(0, 1, count)
        end = float(times[-1]) + 0.7
        assert pool(times, values, end).hysteresis == pytest.approx(by_definition(times, values, end), abs=2e-3)


def test_pooling_is_by_time_and_not_by_count() -> None:
    times = np.array([0.0, 9.0, 9.1, 9.2, 9.3])  # 9 s good, 1 s bad in four samples
    pooled = pool(times, np.array([0.8, 0.2, 0.2, 0.2, 0.2]), 10.0)
    assert pooled.mean == pytest.approx(0.9 * 0.8 + 0.1 * 0.2)
    assert pooled.p5 == 0.2
    assert pooled.worst10 == pytest.approx(0.2)
    assert (pooled.min, pooled.min_time) == (0.2, 9.0)
    assert pooled.mean - pooled.hysteresis > 0.05


def test_the_lowest_tenth_is_cut_within_a_sample() -> None:
    pooled = pool(np.arange(4.0), np.array([0.9, 0.5, 0.9, 0.1]), 4.0)
    assert pooled.worst10 == pytest.approx(0.1)
    pooled = pool(np.array([0.0, 1.0, 1.05]), np.array([0.9, 0.1, 0.5]), 2.0)
    assert pooled.worst10 == pytest.approx((0.05 * 0.1 + 0.15 * 0.5) / 0.2)


def test_a_value_that_stays_is_all_its_figures() -> None:
    for count, step in ((1, 1.0), (10, 0.04), (100, 3.0)):
        times = np.arange(count) * step
        pooled = pool(times, np.full(count, 0.61), count * step)
        for figure in (pooled.mean, pooled.p5, pooled.worst10, pooled.hysteresis, pooled.min):
            assert figure == pytest.approx(0.61)


def test_samples_that_last_no_time_are_pooled_all_the_same() -> None:
    assert pool(np.array([3.0]), np.array([0.4]), 3.0).hysteresis == pytest.approx(0.4)


def test_times_that_are_sums_are_no_harm() -> None:
    rng = np.random.default_rng(1)
    with np.errstate(all="raise"):
        for step in (0.1, 1 / 3, 1001 / 30000, 0.04):
            summed, values = np.cumsum(np.full(400, step)), rng.uniform(0, 1, 400)
            exact = step * np.arange(1, 401)
            ours, theirs = pool(summed, values, summed[-1] + step), pool(exact, values, exact[-1] + step)
            assert ours.hysteresis == pytest.approx(theirs.hysteresis, abs=1e-6)


def test_hysteresis_hardly_depends_on_the_step() -> None:
    fine = np.arange(0, 60, 0.04)
    quality = 0.7 + 0.05 * np.sin(fine / 3) - 0.4 * ((fine > 20) & (fine < 23))
    every = {step: pool(fine[:: round(step / 0.04)], quality[:: round(step / 0.04)], 60.0) for step in (0.24, 1.0)}
    assert every[1.0].hysteresis == pytest.approx(every[0.24].hysteresis, abs=0.02)


def test_a_drop_that_comes_back_is_low_from_its_first_sample_to_the_end_of_its_last() -> None:
    technical = [0.75, 0.74, 0.75, 0.5, 0.52, 0.75, 0.76, 0.75]
    assert found(technical) == [(3, 5)]
    times = np.array([0, 1, 2, 3, 4.5, 5, 6, 7.0])
    (event,) = low(times, heads(technical), [], REFERENCE, 8.0)
    assert (event.start, event.end) == (3, 5)


def test_the_event_names_the_attribute_that_moved_most() -> None:
    technical = [0.75, 0.75, 0.45, 0.75, 0.75]
    sharp, noisy = [0.63, 0.63, 0.08, 0.6, 0.6], [0.3, 0.3, 0.5, 0.3, 0.3]
    (event,) = low(np.arange(5.0), heads(technical, sharpness=sharp, noisiness=noisy), [], REFERENCE, 5.0)
    assert event.detail == "technical 0.75 -> 0.45, sharpness 0.60 -> 0.08"


def test_a_small_drop_is_low_where_an_attribute_jumps_with_it() -> None:
    technical = [0.75, 0.75, 0.65, 0.75, 0.75]
    assert found(technical) == []
    assert found(technical, noisiness=[0.2, 0.2, 0.9, 0.2, 0.2]) == [(2, 3)]
    assert found([0.75, 0.75, 0.69, 0.75, 0.75], noisiness=[0.2, 0.2, 0.9, 0.2, 0.2]) == []


def test_a_clip_that_varies_by_itself_needs_a_larger_drop() -> None:
    calm, restless = [0.7, 0.71] * 6, [0.7, 0.62, 0.72, 0.6] * 3
    for technical, expected in ((calm, [(5, 6)]), (restless, [])):
        technical[5] = 0.5
        assert found(technical, noisiness=[0.2] * 5 + [0.9] + [0.2] * 6) == expected


def test_a_slow_change_is_none() -> None:
    assert found(np.linspace(0.75, 0.5, 12).tolist()) == []
    assert found(np.linspace(0.5, 0.75, 12).tolist(), sharpness=np.linspace(0, 1, 12).tolist()) == []


def test_a_fault_that_touches_a_cut_is_found() -> None:
    good, bad = [0.75, 0.74, 0.75, 0.75, 0.74], [0.74, 0.75, 0.74, 0.45, 0.44]
    assert found([*bad, *good], cuts=[5.0]) == [(3, 5)]
    assert found([*good, *bad[::-1]], cuts=[5.0]) == [(5, 7)]
    assert found([*bad, *bad[::-1]], cuts=[5.0]) == [(3, 7)], "one fault over a cut is one event"


def test_a_cut_is_where_its_first_picture_is_though_times_are_rounded() -> None:
    technical, times = heads([0.8] * 5 + [0.55] * 5), np.arange(10.0)
    times[5] -= 1e-9
    assert low(times, technical, [5.0], REFERENCE, 10.0) == []


def test_scenes_of_different_levels_are_not_low() -> None:
    assert found([0.8] * 5 + [0.55] * 5 + [0.8] * 5, cuts=[5.0, 10.0]) == []


def test_two_cuts_around_a_fault_are_none() -> None:
    dark = {"sharpness": [0.6] * 5 + [0.1] * 2 + [0.6] * 5}
    assert found([0.75] * 5 + [0.55] * 2 + [0.75] * 5, cuts=[5.0, 7.0], **dark) == [(5, 7)]
    other = {"sharpness": [0.6] * 5 + [0.1] * 2 + [0.2] * 5}
    assert found([0.75] * 5 + [0.55] * 2 + [0.6] * 5, cuts=[5.0, 7.0], **other) == [], "a picture of its own"


def test_a_scene_is_low_where_most_of_it_is_below_the_reference() -> None:
    assert found([0.42] * 5 + [0.75] * 5, cuts=[5.0]) == [(0, 5)]
    assert found([0.42, 0.42, 0.5, 0.5, 0.5] + [0.75] * 5, cuts=[5.0]) == []
    (event,) = low(np.arange(5.0), heads([0.42] * 5, sharpness=[0.02] * 5), [], REFERENCE, 5.0)
    assert event.detail == "technical 0.42 below 90 % of the reference, sharpness 0.02"


def test_a_scene_of_less_than_a_second_is_not_ranked() -> None:
    times = np.arange(0, 6, 0.25)
    technical = np.where((times >= 3) & (times < 3.75), 0.42, 0.75)
    attributes = {"sharpness": np.where(times < 3, 0.2, 0.9), "noisiness": np.full(len(times), 0.5)}
    assert low(times, {"technical": technical, **attributes}, [3.0, 3.75], REFERENCE, 6.0) == []
    technical = np.where((times >= 3) & (times < 4), 0.42, 0.75)
    (event,) = low(times, {"technical": technical, **attributes}, [3.0, 4.0], REFERENCE, 6.0)
    assert (event.start, event.end) == (3, 4)


def test_a_gap_of_one_step_is_closed() -> None:
    technical = [0.75, 0.75, 0.45, 0.75, 0.45, 0.75, 0.75, 0.45, *[0.75] * 10]
    assert found(technical) == [(2, 5), (7, 8)]


def test_a_segment_goes_on_while_half_of_what_makes_it_is_left() -> None:
    assert found([0.75, 0.75, 0.45, 0.69, 0.75, 0.75]) == [(2, 4)]
    assert found([0.75, 0.75, 0.45, 0.72, 0.75, 0.75]) == [(2, 3)]


def test_without_a_reference_the_clip_alone_tells() -> None:
    technical = heads([0.3, 0.3, 0.3, 0.3])
    assert low(np.arange(4.0), technical, [], {}, 4.0) == []
    dropped = heads([0.75, 0.75, 0.4, 0.75])
    assert [event.start for event in low(np.arange(4.0), dropped, [], {}, 4.0)] == [2]
    assert low(np.array([]), heads([]), [], {}, 0.0) == []
