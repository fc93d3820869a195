"""Estimates from unequal probabilities."""

from __future__ import annotations

import random

import pytest

from services.review.estimates import estimate


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
