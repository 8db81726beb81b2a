"""An alarm begins after its seconds and ends with the value; other words are no alarm."""

from __future__ import annotations

import pytest

from declip_rt import ConfigError
from declip_rt.video.alert import Alert

HEADS = ("technical", "sharpness")


def turns(text: str, values: list[float], step: float = 1.0) -> list[tuple[float, float | None]]:
    alert = Alert.parse(text, HEADS)
    found = (alert.see(step * at, value) for at, value in enumerate(values))
    return [(turn.start, turn.end) for turn in found if turn]


def test_it_begins_once_the_value_was_wrong_for_long_and_ends_with_it() -> None:
    values = [0.9, 0.3, 0.3, 0.9, 0.3, 0.3, 0.3, 0.3, 0.9, 0.3]
    assert turns("technical<0.35 for 3s", values) == [(4, None), (4, 8)]
    assert turns("technical<0.35", values) == [(1, None), (1, 3), (4, None), (4, 8), (9, None)]


def test_steps_that_floats_cannot_hold_count_whole() -> None:
    assert turns("sharpness > 0.5 for 0.3", [1.0] * 4, step=0.1) == [(0, None)]


@pytest.mark.parametrize(
    "text", ["technical", "technical<", "technical=0.3", "technical<0.3 for", "technical<0.3 for 5m"]
)
def test_what_is_no_alert_is_told_with_one_that_is(text: str) -> None:
    with pytest.raises(ConfigError, match="is no alert; give one such as"):
        Alert.parse(text, HEADS)


def test_an_unknown_value_is_told_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="choose one of technical, sharpness"):
        Alert.parse("sharpnes<0.3", HEADS)
