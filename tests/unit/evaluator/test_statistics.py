"""Known values of the statistics, and what happens at their edges."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluator.statistics import classes, intervals, paired, predictions, sequential
from services.evaluator.statistics.predictions import Stratum


def test_the_wilson_interval_has_its_published_value() -> None:
    assert intervals.wilson(7, 10) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert intervals.wilson(0, 0) == (0.0, 1.0)
    assert intervals.wilson(0, 20)[0] == 0
    assert intervals.wilson(20, 20)[1] == 1


def test_near_the_edge_the_wilson_interval_ends_at_the_poisson_bound() -> None:
    # 0.0513, 0.3554 and 0.8177 events are seen once, twice, thrice or more in 5 % of all cases
    for hits, rate in ((1, 0.05129), (2, 0.35536), (3, 0.81769)):
        assert intervals.wilson(hits, 100)[0] == pytest.approx(rate / 100, abs=1e-6)
        assert intervals.wilson(100 - hits, 100)[1] == pytest.approx(1 - rate / 100, abs=1e-6)
    assert intervals.wilson(3, 50)[0] > 0.82 / 50


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_value_and_stays_between_0_and_1(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    for low, high in (intervals.wilson(right, n), intervals.clopper_pearson(right, n)):
        assert 0 <= low <= right / n <= high <= 1


def test_clopper_pearson_has_its_published_values() -> None:
    assert intervals.clopper_pearson(8, 10) == pytest.approx((0.44390, 0.97479), abs=1e-5)
    assert intervals.clopper_pearson(0, 0) == (0.0, 1.0)
    assert intervals.clopper_pearson(5, 5) == pytest.approx((0.47818, 1.0), abs=1e-5)


@pytest.mark.parametrize(("n", "bound"), [(100, 0.0295), (300, 0.00994), (1000, 0.00299)])
def test_no_failure_seen_still_allows_some(n: int, bound: float) -> None:
    assert intervals.upper_bound(0, n) == pytest.approx(bound, abs=1e-4)
    assert intervals.upper_bound(n, n) == 1


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.7062), (9, 2.26216), (10_000, 1.96020)])
def test_students_t_has_its_published_quantiles(freedom: int, t: float) -> None:
    assert intervals.student_quantile(0.975, freedom) == pytest.approx(t, abs=1e-4)


def test_items_of_one_cluster_count_as_what_they_know_together() -> None:
    values = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0] * 10
    alone = intervals.clustered_mean(values, range(60))
    together = intervals.clustered_mean(values, [i // 3 for i in range(60)])
    assert together.value == alone.value == 0.5
    assert together.se / alone.se == pytest.approx(math.sqrt(3), rel=0.02)


def test_one_item_or_one_cluster_says_nothing_about_spread() -> None:
    mean = intervals.clustered_mean([1.0], ["a"])
    assert mean.interval() == (-math.inf, math.inf)
    assert mean.p_value() == 1
    assert paired.non_inferior(mean, 0.02) is None
    with pytest.raises(ValueError, match="no items"):
        intervals.clustered_mean([], [])


def test_all_equal_scores_differ_in_nothing() -> None:
    for n in (10, 100):
        found = paired.difference([0.7] * n, [0.7] * n, range(n), resamples=200)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_difference_of_few_clusters_is_tested_by_t_and_of_many_by_bootstrap() -> None:
    few = paired.difference([1.0] * 10, [0.0, 1.0] * 5, range(10))
    many = paired.difference([1.0] * 100, [0.0, 1.0] * 50, range(100), resamples=2000)
    assert (few.method, many.method) == ("cluster-t", "cluster-bootstrap")
    assert few.low < 0.5 < few.high
    assert 0.38 < many.low < 0.5 < many.high < 0.62
    assert many.p < 0.01


@pytest.mark.parametrize(
    ("discordance", "margin", "n"),
    [(0.05, 0.02, 773), (0.1, 0.02, 1546), (0.2, 0.02, 3092), (0.1, 0.03, 687)],
)
def test_non_inferiority_needs_as_many_items_as_published(
    discordance: float, margin: float, n: int
) -> None:
    assert paired.non_inferiority_items(discordance, margin) == n


def test_non_inferiority_is_shown_refuted_or_left_open() -> None:
    same = intervals.clustered_mean([0.0, 0.0, 1.0, -1.0] * 500, range(2000))
    few = intervals.clustered_mean([0.0, 1.0, -1.0] * 3, range(9))
    worse = intervals.clustered_mean([0.0, -1.0] * 500, range(1000))
    found = [paired.non_inferior(each, 0.05) for each in (same, few, worse)]
    assert found == [True, None, False]


def test_holm_steps_down_and_never_gets_smaller() -> None:
    assert paired.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert paired.holm({}) == {}


def test_zero_discordant_pairs_show_nothing() -> None:
    assert paired.mcnemar(0, 0) == 1
    assert sequential.log_e(0, 0) == pytest.approx(0)
    assert sequential.state(0, 0) == "undecided"
    assert paired.superiority_items(0, 0, 10) is None


def test_the_e_process_tells_better_from_worse() -> None:
    assert sequential.state(30, 5) == "better"
    assert sequential.state(5, 30) == "worse"
    assert sequential.state(6, 5) == "undecided"


def test_macro_f1_of_two_models_is_compared_over_the_fixed_labels() -> None:
    gold = [0, 1, 2] * 100
    baseline = [-1 if i % 5 == 0 else g for i, g in enumerate(gold)]
    found = classes.macro_f1_difference(gold, gold, baseline, 3, resamples=2000)
    assert found.value == pytest.approx(1 - 2 * 80 / (100 + 80), abs=0.01)
    assert 0.05 < found.low < found.value < found.high < 0.18
    same = classes.macro_f1_difference(gold, baseline, baseline, 3, resamples=200)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    by = classes.macro_f1_difference(
        gold, gold, baseline, 3, clusters=[i // 3 for i in range(300)], resamples=500
    )
    assert by.value == found.value
    assert by.clusters == 100


def test_predictions_that_say_nothing_are_not_trusted() -> None:
    flat = predictions.estimate([Stratum([0, 1, 1, 0], [1, 1, 1, 1], [1] * 100)])
    assert flat.power == (0.0,)
    assert flat.value == 0.5
    none = predictions.estimate([Stratum([0, 1, 0, 1], [0, 1, 0, 1], [])])
    assert none.value == 0.5


def test_too_few_labels_in_a_stratum_leave_the_estimate_open() -> None:
    found = predictions.estimate([Stratum([1, 0], [1, 0], [1, 0])])
    assert found.se == math.inf
    with pytest.raises(ValueError, match="not 1"):
        predictions.estimate([Stratum([1, 0, 1], [1, 0, 1], [1], weight=0.5)])
