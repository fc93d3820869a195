"""Estimates from unequal probabilities."""

from __future__ import annotations

import random

import pytest

from services.review.estimates import Predicted, estimate


def test_an_item_counts_by_the_inverse_of_its_probability():
    hits = [(1.0, True)] * 10 + [(0.1, False)] * 9 + [(0.1, True)]
    found = estimate(hits, {1.0: 10, 0.1: 100})
    assert found.share == pytest.approx((10 + 10) / 110)
    assert found.raw == 11 / 20
    assert found.low < found.share < found.high


def test_an_item_that_was_certain_to_be_asked_leaves_no_doubt():
    found = estimate([(1.0, True)] * 3 + [(1.0, False)], {1.0: 4})
    assert found.low == found.share == found.high == 0.75


def test_no_failure_seen_is_not_no_failure():
    found = estimate([(0.02, False)] * 20, {0.02: 1000})
    assert found.share == found.low == 0
    assert found.high > 0.1


def test_a_stratum_without_an_answer_makes_the_share_unknowable():
    with pytest.raises(ValueError, match=r"probability 0\.02"):
        estimate([(1.0, True)], {1.0: 1, 0.02: 50})


def test_nothing_cannot_be_estimated():
    with pytest.raises(ValueError, match="no item"):
        estimate([], {})


def test_a_stratum_that_happens_to_be_empty_does_not_matter():
    assert estimate([(1.0, True)], {1.0: 1, 0.2: 0}).share == 1


def test_the_weighted_share_is_right_where_the_raw_one_is_wrong():
    chance = random.Random(7)
    strata = {0.05: 0.03, 1.0: 0.4}
    weighted, raw = [], []
    for _ in range(200):
        sizes = {0.05: 1800, 1.0: 200}
        hits = [
            (p, chance.random() < strata[p])
            for p, size in sizes.items()
            for _ in range(size)
            if chance.random() < p
        ]
        found = estimate(hits, sizes)
        weighted.append(found.share)
        raw.append(found.raw)
    truth = (1800 * 0.03 + 200 * 0.4) / 2000
    assert sum(weighted) / 200 == pytest.approx(truth, abs=0.005)
    assert sum(raw) / 200 > truth + 0.1


def drawn(chance: random.Random, size: int, inclusion: float, rate: float, skill: float):
    """Return answers, predictions and the true share of a population with one stratum."""
    truth = [float(chance.random() < rate) for _ in range(size)]
    told = [y if chance.random() < skill else 1 - y for y in truth]
    asked = [chance.random() < inclusion for _ in range(size)]
    pairs = list(zip(truth, told, asked, strict=True))
    hits = [(inclusion, y) for y, _, picked in pairs if picked]
    predicted = Predicted([f for _, f, p in pairs if p], [f for _, f, p in pairs if not p])
    return hits, predicted, sum(truth) / size


@pytest.mark.parametrize(("rate", "skill"), [(0.5, 0.5), (0.5, 0.85), (0.2, 0.95), (0.05, 0.9)])
def test_intervals_with_predictions_cover_what_they_say(rate, skill):
    chance = random.Random(11)
    covered, ratio = 0, 0.0
    for _ in range(400):
        hits, predicted, truth = drawn(chance, 1000, 0.1, rate, skill)
        with_judge = estimate(hits, {0.1: 1000}, {0.1: predicted})
        alone = estimate(hits, {0.1: 1000})
        covered += with_judge.low <= truth <= with_judge.high
        ratio += (with_judge.high - with_judge.low) / (alone.high - alone.low) / 400
    assert 0.92 <= covered / 400 <= 0.995
    assert ratio <= 1.001
    assert skill == 0.5 or rate == 0.05 or ratio < 0.85


def test_a_judge_that_is_wrong_everywhere_changes_nothing():
    hits = [(0.1, float(n % 3 == 0)) for n in range(60)]
    wrong = Predicted([1 - y for _, y in hits], [0.5] * 540)
    assert estimate(hits, {0.1: 600}, {0.1: wrong}) == estimate(hits, {0.1: 600})


def test_few_answers_trust_no_judge():
    hits = [(0.1, 1.0), (0.1, 0.0), (0.1, 1.0)]
    predicted = Predicted([1.0, 0.0, 1.0], [1.0] * 27)
    assert estimate(hits, {0.1: 30}, {0.1: predicted}) == estimate(hits, {0.1: 30})


def test_levels_are_surer_than_yes_and_no_of_the_same_mean():
    levels = [(0.1, 0.5 + (n % 3 - 1) * 0.25) for n in range(60)]
    yes_no = [(0.1, float(n % 2)) for n in range(60)]
    narrow, wide = (estimate(each, {0.1: 600}) for each in (levels, yes_no))
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)
