"""Shares of all items from those that were asked, weighted by the inverse of their probability."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Z95 = 1.959963984540054
FEW = 10
"""With fewer answers in a stratum its spread and a judge's worth cannot be told."""
_DOUBTED, _CAUTION = 2, 0.75
"""Answers added as doubtful, and standard errors added: simulated coverage is 93 to 97 %."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a judge expects of a stratum's items: the answered ones, in their order, and others."""

    answered: Sequence[float]
    others: Sequence[float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95 % interval; `raw` is what the asked items alone would say."""

    share: float
    low: float
    high: float
    raw: float
    answered: int
    population: int
    worth: float = 1.0
    """How many answers one answer was worth in the widest stratum, thanks to the judge."""


@dataclass(frozen=True, slots=True)
class _Mean:
    """A stratum's mean, and how many independent yes-or-no answers would be as sure of it."""

    value: float
    effective: float
    worth: float = 1.0


def estimate(
    hits: Iterable[tuple[float, float]],
    population: Mapping[float, int],
    predicted: Mapping[float, Predicted] | None = None,
) -> Estimate:
    """Estimate the mean of values from 0 to 1 (hits: 0 or 1) over all items, asked or not.

    `hits` holds the inclusion probability and the value of each answered item, `population` how
    many items had each probability. Items with equal probability form a stratum; each answered
    one stands for 1/probability, rescaled so that a stratum weighs what it really holds. The
    interval joins Wilson intervals of the strata (squares added), which holds for rare failures;
    a stratum that was answered completely adds no uncertainty. A stratum without any answer makes
    the share unknowable: `ValueError`.

    `predicted` holds what a judge expects of every item of a stratum. The answers then correct
    the judge instead of standing alone (PPI++, Angelopoulos, Duchi and Zrnic 2023, for a finite
    population), trusting it as far as it agrees with them: a useless judge changes nothing.
    """
    strata: dict[float, list[float]] = defaultdict(list)
    for probability, hit in hits:
        strata[probability].append(float(hit))
    total, answered = sum(population.values()), sum(map(len, strata.values()))
    if missing := [p for p, size in population.items() if size and not strata.get(p)]:
        raise ValueError(f"no item with inclusion probability {missing[0]} was answered yet")
    if not total:
        raise ValueError("there is no item")
    share = below = above = 0.0
    widest, worth = -1.0, 1.0
    for probability, size in population.items():
        if not size:
            continue
        found = _mean(strata[probability], size, (predicted or {}).get(probability))
        low, high = _wilson(found.value, found.effective)
        weight = size / total
        share += weight * found.value
        below += (weight * (found.value - low)) ** 2
        above += (weight * (high - found.value)) ** 2
        if weight * (high - low) > widest:
            widest, worth = weight * (high - low), found.worth
    raw = sum(map(sum, strata.values())) / answered
    low, high = share - math.sqrt(below), share + math.sqrt(above)
    return Estimate(share, max(0.0, low), min(1.0, high), raw, answered, total, worth)


def _mean(values: Sequence[float], size: int, predicted: Predicted | None) -> _Mean:
    """Return the mean of n of `size` items, drawn without replacement."""
    n, plain = len(values), fmean(values)
    if n >= size:
        return _Mean(plain, math.inf)
    effective = n * (size - 1) / (size - n)
    spread = _variance(values)
    if n < FEW or spread == 0:
        return _Mean(plain, effective)
    # Levels spread less than yes and no of the same mean would.
    effective *= max(1.0, plain * (1 - plain) / spread)
    if predicted is None:
        return _Mean(plain, effective)
    trust = _trust(values, predicted.answered)
    rest = [y - trust * f for y, f in zip(values, predicted.answered, strict=True)]
    left = _open(rest, spread)
    if trust == 0 or left >= spread:
        return _Mean(plain, effective)
    everywhere = (sum(predicted.answered) + sum(predicted.others)) / size
    value = plain + trust * (everywhere - fmean(predicted.answered))
    worth = spread / left
    return _Mean(min(1.0, max(0.0, value)), effective * min(worth, size / n), worth)


def _trust(values: Sequence[float], predicted: Sequence[float]) -> float:
    """Return the weight of the predictions that leaves the least spread; none below 0."""
    y, f = fmean(values), fmean(predicted)
    together = sum((a - y) * (b - f) for a, b in zip(values, predicted, strict=True))
    spread = sum((b - f) ** 2 for b in predicted)
    return max(0.0, together / spread) if spread > 0 else 0.0


def _variance(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((x - mean) ** 2 for x in values) / (len(values) - 1)


def _open(rest: Sequence[float], most: float) -> float:
    """Return the spread of what a judge leaves open, on the cautious side.

    A judge that erred in none of few answers may err in the next, so two answers as uncertain as
    without it are added, and three quarters of a standard error. Mean and trust are both fitted.
    """
    n, mean = len(rest), fmean(rest)
    squares = [(x - mean) ** 2 for x in rest]
    found = (sum(squares) + _DOUBTED * most) / (n - 2 + _DOUBTED)
    unsure = fmean(x * x for x in squares) - fmean(squares) ** 2
    return found + _CAUTION * math.sqrt(max(0.0, unsure) / n)


def _wilson(mean: float, effective: float) -> tuple[float, float]:
    """Return Wilson's interval of a mean that is as sure as from `effective` answers."""
    if math.isinf(effective):
        return mean, mean
    centre = mean + Z95**2 / (2 * effective)
    spread = Z95 * math.sqrt(mean * (1 - mean) / effective + Z95**2 / (4 * effective**2))
    scale = 1 + Z95**2 / effective
    return (centre - spread) / scale, (centre + spread) / scale
