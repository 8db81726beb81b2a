"""A score can be kept, compared, asked by name and put into a table."""

from __future__ import annotations

import pickle

import pytest

from declip_rt import Score

SCORE = Score(0.5, 0.25, {"sharpness": 0.75}, 12.0, 640, 480, {"calm": 0.1}, {"technical": 71.0})


def test_flat_is_a_row_of_a_table() -> None:
    assert SCORE.flat() == {
        "width": 640,
        "height": 480,
        "technical": 0.5,
        "aesthetic": 0.25,
        "sharpness": 0.75,
        "calm": 0.1,
        "percentile": 12.0,
        "technical_mos": 71.0,
        "damaged": "",
        "preview": "",
    }


def test_any_value_by_its_name() -> None:
    assert (SCORE["technical"], SCORE["sharpness"], SCORE["calm"], SCORE["technical_mos"]) == (0.5, 0.75, 0.1, 71.0)
    with pytest.raises(KeyError, match=r"'sharpnes'; a score has width, .*sharpness"):
        SCORE["sharpnes"]


def test_equal_scores_are_one_member_of_a_set() -> None:
    same, other = pickle.loads(pickle.dumps(SCORE)), Score(0.5, 0.25, {"sharpness": 0.7}, 12.0, 640, 480)
    assert {SCORE, same, other} == {SCORE, other}
    assert (other.prompts, other.mos) == ({}, {}), "nothing is an empty mapping for both"
