"""Agreement beyond chance, its interval, and what pulls a judge away from people. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Z = 1.959964
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval over `n` items; NaN where it is not defined."""

    value: float
    low: float
    high: float
    n: int


def kappa(items: Sequence[Pairs], weights: Sequence[float] | None = None) -> Measured:
    """Return Cohen's kappa over all pairs of labels, each item contributing one or several.

    `weights` are inverse chances of having been labelled, 1 each without them. The interval is a
    delete-one-item jackknife, so several labels of one item are not taken for independent.
    Undefined (NaN) without items, or when chance alone explains all agreement.
    """
    weights = weights if weights is not None else [1.0] * len(items)
    cells: dict[tuple[str, str], float] = {}
    for pairs, weight in zip(items, weights, strict=True):
        for pair in pairs:
            cells[pair] = cells.get(pair, 0.0) + weight
    value = _kappa(cells)
    if math.isnan(value) or len(items) < 2:
        return Measured(value, math.nan, math.nan, len(items))
    without = []
    for pairs, weight in zip(items, weights, strict=True):
        left = dict(cells)
        for pair in pairs:
            left[pair] = max(0.0, left[pair] - weight)
        without.append(_kappa(left))
    return _jackknife(value, without, -1.0)


def _jackknife(value: float, without: Sequence[float], lowest: float) -> Measured:
    kept = [each for each in without if not math.isnan(each)]
    centre = sum(kept) / len(kept) if kept else value
    spread = sum((each - centre) ** 2 for each in kept) * (len(without) - 1) / len(without)
    error = Z * math.sqrt(spread)
    return Measured(value, max(lowest, value - error), min(1.0, value + error), len(without))


def _kappa(cells: Mapping[tuple[str, str], float]) -> float:
    total = sum(cells.values())
    if not total:
        return math.nan
    rows: dict[str, float] = {}
    columns: dict[str, float] = {}
    for (row, column), count in cells.items():
        rows[row] = rows.get(row, 0.0) + count
        columns[column] = columns.get(column, 0.0) + count
    agreed = sum(count for (row, column), count in cells.items() if row == column) / total
    chance = sum(rows[label] * columns.get(label, 0.0) for label in rows) / total**2
    return math.nan if chance >= 1 - 1e-12 else (agreed - chance) / (1 - chance)


def people_pairs(labels: Sequence[str]) -> Pairs:
    """Return all ordered pairs of different people's labels of one item."""
    return [
        (one, other) for i, one in enumerate(labels) for j, other in enumerate(labels) if i != j
    ]


def majority(labels: Sequence[str]) -> str | None:
    """Return the label that more than half of the people chose; None when there is none."""
    (label, count), *_ = Counter(labels).most_common(1)
    return label if count * 2 > len(labels) else None


def mean(values: Sequence[float], weights: Sequence[float] | None = None) -> Measured:
    """Return the (weighted) mean of independent values with a jackknife interval."""
    weights = weights if weights is not None else [1.0] * len(values)
    total, n = sum(weights), len(values)
    if not n:
        return Measured(math.nan, math.nan, math.nan, 0)
    whole = sum(value * weight for value, weight in zip(values, weights, strict=True))
    if n == 1:
        return Measured(whole / total, math.nan, math.nan, 1)
    without = [
        (whole - value * weight) / (total - weight)
        for value, weight in zip(values, weights, strict=True)
    ]
    return _jackknife(whole / total, without, -1.0)


def drift(expected: Mapping[str, float], observed: Mapping[str, float]) -> float:
    """Return the population stability index between two shares; above 0.2 is a change of mix."""
    smallest = 1e-4
    return sum(
        (observed.get(key, 0) - expected.get(key, 0))
        * math.log(max(observed.get(key, 0), smallest) / max(expected.get(key, 0), smallest))
        for key in set(expected) | set(observed)
    )


def rejects(agreed: Sequence[bool], target: float, alpha: float = 0.05) -> bool:
    """Tell whether audits rule out that people agree with at least a share of `target`.

    An e-process: it may be looked at after every audit, and still cries wolf at most in a share
    of `alpha` of all sequences. It bets four ways at once and takes their mean.
    """
    bets = [fraction / (1 - target) for fraction in (0.1, 0.3, 0.5, 0.8)]
    wealth = [1.0] * len(bets)
    for agrees in agreed:
        gain = target - agrees
        wealth = [held * (1 + bet * gain) for held, bet in zip(wealth, bets, strict=True)]
        if sum(wealth) / len(wealth) >= 1 / alpha:
            return True
    return False
