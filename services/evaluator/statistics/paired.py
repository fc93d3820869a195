"""Two models on the same items: exact and bootstrap tests, non-inferiority, many tests at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.evaluator.statistics.intervals import (
    Floats,
    Mean,
    cluster_index,
    clustered_mean,
    student_quantile,
)

FEW_CLUSTERS = 40
"""Below so many clusters the percentile bootstrap is too narrow, so a t interval is taken."""
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus baseline over paired items, with its interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p: float
    n: int
    clusters: int
    method: Literal["cluster-t", "cluster-bootstrap"]


def sign_test(fewer: int, more: int) -> float:
    """Return P(at least `more` of all discordant pairs fall on one side) under no difference."""
    n = fewer + more
    ways = tail = math.comb(n, more)
    for k in range(more, n):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    # Whole numbers to the end: the quotient is exact where a float power would overflow.
    return float(Fraction(tail, 1 << n))


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided exact McNemar p-value; 1 without discordant pairs."""
    return min(1.0, 2 * sign_test(min(wins, losses), max(wins, losses)))


def difference(
    candidate: Sequence[float],
    baseline: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare per-item scores of the same items, whole clusters drawn together."""
    gains = np.asarray(candidate, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    mean = clustered_mean(gains, clusters)
    if mean.clusters < FEW_CLUSTERS:
        low, high = mean.interval(level)
        return Difference(mean.value, low, high, mean.p_value(), mean.n, mean.clusters, "cluster-t")
    at = cluster_index(clusters)
    parts = np.stack([np.bincount(at, weights=gains), np.bincount(at).astype(np.float64)], axis=1)
    drawn = resample(parts, None, resamples, seed)
    means = drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Difference(
        mean.value,
        float(low),
        float(high),
        bootstrap_p(means),
        mean.n,
        mean.clusters,
        "cluster-bootstrap",
    )


def bootstrap_p(differences: Floats) -> float:
    """Return the two-sided p-value of "no difference" from resampled differences."""
    below = int((differences <= 0).sum())
    above = int((differences >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (differences.size + 1))


def resample(parts: Floats, counts: npt.NDArray[np.int64] | None, times: int, seed: int) -> Floats:
    """Return sums of `parts` (unit, quantity) over bootstrap draws: (draw, quantity).

    A unit is a cluster, or a kind of item that occurs `counts` times. Sums of linear quantities
    are all that shares, F1 and means need, so no draw is ever spelled out item by item.
    """
    units = parts.shape[0]
    occurs = np.ones(units, dtype=np.int64) if counts is None else counts
    total = int(occurs.sum())
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // units)
    chunks = []
    for start in range(0, times, step):
        drawn = random.multinomial(total, occurs / total, size=min(step, times - start))
        chunks.append(drawn.astype(np.float64) @ parts)
    return np.concatenate(chunks)


def non_inferior(mean: Mean, margin: float, alpha: float = 0.05) -> bool | None:
    """Tell whether the paired difference is above -`margin`: True, False, None if not settled.

    False means that the whole one-sided interval lies below -`margin`.
    """
    if not math.isfinite(mean.se):
        return None
    half = student_quantile(1 - alpha, mean.clusters - 1) * mean.se
    if mean.value - half > -margin:
        return True
    return False if mean.value + half < -margin else None


def non_inferiority_items(
    discordance: float, margin: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Return how many pairs show non-inferiority of an equal model with that power."""
    normal = NormalDist()
    root = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    return math.ceil(root * root * discordance / (margin * margin))


def superiority_items(
    wins: int, losses: int, n: int, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return about how many items would show the observed advantage; None when there is none."""
    if n == 0 or wins <= losses:
        return None
    delta, discordant = (wins - losses) / n, (wins + losses) / n
    normal = NormalDist()
    root = normal.inv_cdf(1 - alpha / 2) * math.sqrt(discordant)
    root += normal.inv_cdf(power) * math.sqrt(max(0.0, discordant - delta * delta))
    return max(n + 1, math.ceil((root / delta) ** 2))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm-adjusted p-values: compare each with alpha, whatever their number."""
    adjusted: dict[str, float] = {}
    worst, left = 0.0, len(p_values)
    for name, p in sorted(p_values.items(), key=lambda pair: (pair[1], pair[0])):
        worst = max(worst, min(1.0, p * left))
        adjusted[name] = worst
        left -= 1
    return adjusted
