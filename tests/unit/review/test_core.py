"""What the queue decides, as plain functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.events import ReviewRequested
from services.review import core
from services.review.core import Given
from services.review.policy import Checks, Policy, Sampling, load
from services.review.settings import ReviewSettings


def request(**changes: Any) -> ReviewRequested:
    given: dict[str, Any] = {"origin": "judgement", "criticality": "low", **changes}
    return ReviewRequested(item="i", prompt="?", options=("a", "b"), **given)


@pytest.mark.parametrize(
    ("changes", "inclusion"),
    [
        ({}, 0.02),
        ({"criticality": "medium"}, 0.2),
        ({"criticality": "safety"}, 1),
        ({"uncertain": True}, 1),
        ({"origin": "feedback"}, 1),
    ],
)
def test_the_highest_probability_that_applies_is_kept(changes, inclusion):
    assert core.draw(request(**changes), Sampling(), 0.5).inclusion == inclusion


def test_the_floor_asks_about_what_no_rule_would_ask():
    rules = Sampling(low=0.001, floor=0.05)
    drawn = core.draw(request(), rules, 0.04)
    assert (drawn.inclusion, drawn.picked, drawn.audit) == (0.05, True, True)
    assert core.draw(request(uncertain=True), rules, 0.06).audit is False


@given(st.floats(0, 1, exclude_max=True))
def test_an_item_is_asked_exactly_when_the_draw_is_below_its_probability(chance):
    drawn = core.draw(request(criticality="medium"), Sampling(), chance)
    assert drawn.picked == (chance < drawn.inclusion)


@pytest.mark.parametrize(
    ("choices", "skips", "final", "settled"),
    [
        ([], 0, None, ("open", None)),
        ([1], 2, None, ("open", None)),
        ([1, 1], 0, None, ("agreed", 1)),
        ([1, 0], 0, None, ("conflict", None)),
        ([1], 3, None, ("conflict", None)),
        ([1, 0], 0, 0, ("adjudicated", 0)),
    ],
)
def test_answers_settle_an_item(choices, skips, final, settled):
    assert core.settle(choices, 2, skips, 3, final) == settled


def test_checks_take_their_share_of_the_questions():
    checks = Checks(gold=0.1, repeat=0.1)
    assert [core.turn(chance, checks) for chance in (0, 0.1, 0.2)] == ["gold", "repeat", "ask"]


def test_answers_to_compare_are_shuffled_and_a_tie_is_last():
    assert core.shown_order("judgement", ["x", "tie", "y"], [1, 2, 0]) == (2, 0, 1)


def test_right_and_wrong_stay_in_their_places():
    assert core.shown_order("feedback", ["right", "wrong"], [1, 0]) == (0, 1)


def test_words_that_differ_are_marked_also_in_turkish():
    left, right = core.differences("Başkent İstanbul'dur.", "Başkent Ankara'dır.")
    assert [piece.text for piece in left if piece.differs] == ["İstanbul", "dur"]
    assert [piece.text for piece in right if piece.differs] == ["Ankara", "dır"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_marking_loses_no_character(left, right):
    for text, pieces in zip((left, right), core.differences(left, right), strict=True):
        assert "".join(piece.text for piece in pieces) == text


def test_long_texts_are_not_compared():
    text = "word " * 5000
    left, right = core.differences(text, text + "x")
    assert not any(piece.differs for piece in left + right)


def test_reliability_counts_gold_repeats_and_agreement():
    found = core.reliability(
        [Given(1, gold=1), Given(0, gold=1), Given(0, first=0), Given(1, outcome=1)]
    )
    assert (found.gold, found.consistency, found.agreement) == (0.5, 1, 1)
    assert found.score == 0.5


def test_nothing_is_known_of_a_new_reviewer():
    found = core.reliability([])
    assert (found.gold, found.consistency, found.agreement, found.score) == (None, None, None, 0.5)


def test_the_policy_that_ships_is_the_default_one():
    assert load(ReviewSettings().policy) == Policy()


def test_neighbouring_levels_say_the_same_only_where_answers_are_rated():
    assert core.settle((3, 4), 2, 0, 3, None, rated=True) == ("agreed", 3)
    assert core.settle((3, 4), 2, 0, 3, None) == ("conflict", None)
    assert core.settle((2, 4), 2, 0, 3, None, rated=True) == ("conflict", None)
    found = core.reliability([Given(3, gold=4, rated=True), Given(1, gold=4, rated=True)])
    assert found.gold == 0.5
