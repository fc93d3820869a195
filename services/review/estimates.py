"""Shares of all items from those that were asked, weighted by the inverse of their probability."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95 % interval; `raw` is what the asked items alone would say."""

    share: float
    low: float
    high: float
    raw: float
    answered: int
    population: int


def estimate(hits: Iterable[tuple[float, bool]], population: Mapping[float, int]) -> Estimate:
    """Estimate the share of hits among all items, asked or not.

    `hits` holds the inclusion probability and the outcome of each answered item, `population` how
    many items had each probability. Items with equal probability form a stratum; each answered
    one stands for 1/probability, rescaled so that a stratum weighs what it really holds. The
    interval joins Wilson intervals of the strata (squares added), which holds for rare failures;
    a stratum that was answered completely adds no uncertainty. A stratum without any answer makes
    the share unknowable: `ValueError`.
    """
    strata: dict[float, list[bool]] = defaultdict(list)
    for probability, hit in hits:
        strata[probability].append(hit)
    total, answered = sum(population.values()), sum(map(len, strata.values()))
    if missing := [p for p, size in population.items() if size and not strata.get(p)]:
        raise ValueError(f"no item with inclusion probability {missing[0]} was answered yet")
    if not total:
        raise ValueError("there is no item")
    share = below = above = 0.0
    for probability, size in population.items():
        if not size:
            continue
        found = strata[probability]
        mean, weight = sum(found) / len(found), size / total
        low, high = _wilson(mean, len(found), size)
        share += weight * mean
        below += (weight * (mean - low)) ** 2
        above += (weight * (high - mean)) ** 2
    raw = sum(map(sum, strata.values())) / answered
    low, high = share - math.sqrt(below), share + math.sqrt(above)
    return Estimate(share, max(0.0, low), min(1.0, high), raw, answered, total)


def _wilson(mean: float, n: int, size: int) -> tuple[float, float]:
    """Return Wilson's interval for n of `size` items, drawn without replacement."""
    if n >= size:
        return mean, mean
    effective = n * (size - 1) / (size - n)
    centre = mean + Z95**2 / (2 * effective)
    spread = Z95 * math.sqrt(mean * (1 - mean) / effective + Z95**2 / (4 * effective**2))
    scale = 1 + Z95**2 / effective
    return (centre - spread) / scale, (centre + spread) / scale
