"""Bounds hold for finite samples, at the confidence that they promise."""

from __future__ import annotations

import math
import random

import pytest

from services.feedback_guard.bounds import threshold, upper


@pytest.mark.parametrize(
    ("hits", "total", "bound"), [(0, 100, 0.0295), (1, 100, 0.0466), (5, 50, 0.1991), (3, 3, 1.0)]
)
def test_the_bound_of_a_rate_is_clopper_and_pearsons(hits: int, total: int, bound: float):
    assert upper(hits, total) == pytest.approx(bound, abs=5e-4)


def test_a_count_above_the_total_is_no_share():
    with pytest.raises(ValueError, match="no share"):
        upper(3, 2)


def test_too_few_honest_scores_allow_no_rejection():
    assert threshold([0.0] * 100, 0.01) == math.inf
    assert threshold([0.0] * 400, 0.01) < math.inf


def test_a_threshold_keeps_the_rate_in_nearly_all_samples():
    dice, broken = random.Random(1), 0
    for _ in range(100):
        cut = threshold([dice.gauss(0, 1) for _ in range(300)], 0.05)
        broken += 0.5 * math.erfc(cut / math.sqrt(2)) > 0.05
    assert broken <= 12
