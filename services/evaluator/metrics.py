"""Figures over graded items, with 95 % intervals and a signature that says how they were made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from imece.events import Metric
from services.evaluator.core import Item
from services.evaluator.statistics.intervals import wilson

ACCURACY = "accuracy|answer:contains/1|decoding:greedy|ci:wilson95"
EXACT = "exact_match|fold:nfkc|decoding:greedy|ci:wilson95"
MACRO_F1 = "macro_f1|labels:suite|unparsed:wrong|decoding:greedy|ci:bootstrap1000"
UNPARSED = "unparsed|labels:suite|decoding:greedy|ci:wilson95"
_RESAMPLES = 1000


def measure(items: Sequence[Item]) -> tuple[Metric, ...]:
    """Return the metrics of each slice, of the probes, of the rest and of all; none of no items."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.slice].append(item)
        groups["overall"].append(item)
        groups["overall:guard" if item.guard else "overall:clean"].append(item)
    found = []
    for name, group in sorted(groups.items()):
        found.append(_share(name, ACCURACY, group, lambda item: item.correct))
        found.append(_share(name, EXACT, group, lambda item: item.exact))
    for suite in sorted({item.suite for item in items if item.labels}):
        labelled = [item for item in items if item.labels and item.suite == suite]
        found.append(_macro_f1(suite, labelled))
        found.append(_share(suite, UNPARSED, labelled, lambda item: item.label is None))
    return tuple(found)


def macro_f1(cells: np.ndarray) -> np.ndarray:
    """Return macro-F1 of confusion counts (…, label, label + 1); the last column is "unparsed".

    A label that neither occurs nor is answered in these counts has F1 0.
    """
    labels = cells.shape[-2]
    right = np.diagonal(cells[..., :labels], axis1=-2, axis2=-1)
    sizes = cells.sum(axis=-1) + cells[..., :labels].sum(axis=-2)
    scores = np.divide(2 * right, sizes, out=np.zeros(sizes.shape), where=sizes > 0)
    return np.asarray(scores.mean(axis=-1))


def _share(slice: str, name: str, items: Sequence[Item], holds: Callable[[Item], bool]) -> Metric:
    right, n = sum(holds(item) for item in items), len(items)
    low, high = wilson(right, n)
    return Metric(slice=slice, name=name, value=right / n, n=n, low=low, high=high)


def _macro_f1(suite: str, items: Sequence[Item]) -> Metric:
    labels = items[0].labels
    at = {label: i for i, label in enumerate(labels)}
    cells = np.zeros((len(labels), len(labels) + 1))
    for item in items:
        cells[at[item.expected[0]], len(labels) if item.label is None else at[item.label]] += 1
    value, n = float(macro_f1(cells)), len(items)
    drawn = np.random.default_rng(0).multinomial(n, (cells / n).ravel(), size=_RESAMPLES)
    low, high = np.quantile(macro_f1(drawn.reshape(-1, *cells.shape)), (0.025, 0.975))
    return Metric(
        slice=suite,
        name=MACRO_F1,
        value=value,
        n=n,
        low=min(value, float(low)),
        high=max(value, float(high)),
    )
