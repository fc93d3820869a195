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


def kappa(items: Sequence[Pairs]) -> Measured:
    """Return Cohen's kappa over all pairs of labels, each item contributing one or several.

    The interval is a delete-one-item jackknife, so several labels of one item are not taken for
    independent. Undefined (NaN) without items, or when chance alone explains all agreement.
    """
    cells = Counter(pair for pairs in items for pair in pairs)
    value = _kappa(cells)
    if math.isnan(value) or len(items) < 2:
        return Measured(value, math.nan, math.nan, len(items))
    without = [_kappa(cells - Counter(pairs)) for pairs in items]
    kept = [each for each in without if not math.isnan(each)]
    mean = sum(kept) / len(kept) if kept else value
    spread = sum((each - mean) ** 2 for each in kept) * (len(items) - 1) / len(items)
    error = Z * math.sqrt(spread)
    return Measured(value, max(-1.0, value - error), min(1.0, value + error), len(items))


def _kappa(cells: Mapping[tuple[str, str], int]) -> float:
    total = sum(cells.values())
    if not total:
        return math.nan
    rows: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for (row, column), count in cells.items():
        rows[row] += count
        columns[column] += count
    agreed = sum(count for (row, column), count in cells.items() if row == column) / total
    chance = sum(rows[label] * columns[label] for label in rows) / total**2
    return math.nan if chance >= 1 else (agreed - chance) / (1 - chance)


def people_pairs(labels: Sequence[str]) -> Pairs:
    """Return all ordered pairs of different people's labels of one item."""
    return [
        (one, other) for i, one in enumerate(labels) for j, other in enumerate(labels) if i != j
    ]


def majority(labels: Sequence[str]) -> str | None:
    """Return the label that more than half of the people chose; None when there is none."""
    (label, count), *_ = Counter(labels).most_common(1)
    return label if count * 2 > len(labels) else None


def mean(values: Sequence[float]) -> Measured:
    """Return the mean of independent values with a t-free normal interval."""
    n = len(values)
    if not n:
        return Measured(math.nan, math.nan, math.nan, 0)
    centre = sum(values) / n
    if n == 1:
        return Measured(centre, math.nan, math.nan, 1)
    error = Z * math.sqrt(sum((value - centre) ** 2 for value in values) / (n - 1) / n)
    return Measured(centre, centre - error, centre + error, n)


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
