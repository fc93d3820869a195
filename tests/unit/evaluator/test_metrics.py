"""Figures and their intervals, against values worked out by hand or known beforehand."""

from __future__ import annotations

import pytest

from imece.events import Metric
from services.evaluator import metrics
from services.evaluator.core import Question, grade
from tests.unit.evaluator.builders import items


def named(found: tuple[Metric, ...], slice: str, name: str) -> Metric:
    (metric,) = [m for m in found if (m.slice, m.name) == (slice, name)]
    return metric


def labelled(pairs: list[tuple[str, str]]) -> tuple[Metric, ...]:
    labels = ("a", "b")
    return metrics.measure(
        [
            grade(Question(f"s/{i}", "s", "t", (gold,), "s", labels=labels), answer)
            for i, (gold, answer) in enumerate(pairs)
        ]
    )


def test_accuracy_is_told_for_each_slice_the_probes_the_rest_and_all() -> None:
    found = metrics.measure(items([True, False]) + items([True, True], slice="sum", guard=True))
    values = {m.slice: (m.value, m.n) for m in found if m.name == metrics.ACCURACY}
    assert values == {
        "clean": (0.5, 2),
        "sum": (1.0, 2),
        "overall": (0.75, 4),
        "overall:clean": (0.5, 2),
        "overall:guard": (1.0, 2),
    }


def test_macro_f1_counts_unparsed_answers_as_wrong_over_the_suites_labels() -> None:
    found = labelled([("a", "a"), ("a", "b"), ("b", "b"), ("b", "hmm")])
    f1 = named(found, "s", metrics.MACRO_F1)
    # a: 2·1/(2+1), b: 2·1/(2+2); "hmm" is no class of its own and no row is dropped
    assert f1.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert f1.low <= f1.value <= f1.high
    assert named(found, "s", metrics.UNPARSED).value == 0.25


def test_macro_f1_is_1_when_all_is_right_and_0_when_nothing_is() -> None:
    assert named(labelled([("a", "a"), ("b", "b")]), "s", metrics.MACRO_F1).value == 1
    wrong = named(labelled([("a", "b"), ("b", "?")]), "s", metrics.MACRO_F1)
    assert (wrong.value, wrong.low) == (0, 0)


def test_one_item_is_enough_and_none_gives_no_metric() -> None:
    assert named(labelled([("a", "a")]), "s", metrics.ACCURACY).value == 1
    assert metrics.measure([]) == ()


def test_the_same_items_give_the_same_figures() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "b")] * 5
    assert labelled(pairs) == labelled(pairs)
