"""Intervals of shares and means: Wilson, Clopper-Pearson, and means over clustered items."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `n` items in `clusters` clusters; `se` is infinite with fewer than two."""

    value: float
    se: float
    n: int
    clusters: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the t interval with clusters - 1 degrees of freedom."""
        if not math.isfinite(self.se):
            return -math.inf, math.inf
        half = student_quantile(0.5 + level / 2, self.clusters - 1) * self.se
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Return the two-sided p-value of "the mean is 0"; 1 where nothing can be said."""
        if not math.isfinite(self.se):
            return 1.0
        if self.se == 0:
            return 1.0 if self.value == 0 else 0.0
        freedom = self.clusters - 1
        t = self.value / self.se
        return beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5)


def wilson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of `right` out of `n`; (0, 1) when n is 0.

    With one to three hits or misses the end next to them is the Poisson bound (Brown, Cai and
    DasGupta 2001, section 4.1.1): there the plain interval covers too seldom.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, square = right / n, z * z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    few = 2 if n <= 50 else 3
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    if right <= few:
        low = min(low, _poisson_lower(right, 1 - level) / n)
    if n - right <= few:
        high = max(high, 1 - _poisson_lower(n - right, 1 - level) / n)
    return low, high


@cache
def _poisson_lower(count: int, tail: float) -> float:
    """Return the rate at which `count` or more events have probability `tail`; 0 for no event."""
    low, high = 0.0, float(count)
    for _ in range(_STEPS):
        rate = (low + high) / 2
        if rate in (low, high):
            break
        below = sum(math.exp(-rate) * rate**k / math.factorial(k) for k in range(count))
        low, high = (rate, high) if 1 - below < tail else (low, rate)
    return (low + high) / 2


def clopper_pearson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of `right` out of `n`, never too narrow; (0, 1) when n is 0."""
    tail = (1 - level) / 2
    return _lower(right, n, tail), upper_bound(right, n, 1 - tail)


def upper_bound(bad: int, n: int, level: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a rate, for safety; 1 when n is 0."""
    return 1.0 if bad >= n else beta_quantile(level, bad + 1, n - bad)


def _lower(right: int, n: int, tail: float) -> float:
    return 0.0 if right == 0 else beta_quantile(tail, right, n - right + 1)


def clustered_mean(values: Sequence[float] | Floats, clusters: Sequence[Hashable]) -> Mean:
    """Return the mean with a standard error that lets items of one cluster depend on each other.

    Without clusters give each item its own; `ValueError` when there are no items.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise ValueError("no items: a mean of nothing is not defined")
    at = cluster_index(clusters)
    groups = int(at.max()) + 1
    value = float(x.mean())
    if groups < 2:
        return Mean(value, math.inf, x.size, groups)
    sums = np.bincount(at, weights=x - value)
    variance = float((sums**2).sum()) / x.size**2 * groups / (groups - 1)
    return Mean(value, math.sqrt(variance), x.size, groups)


def cluster_index(clusters: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """Number clusters in the order of their first item."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in clusters], dtype=np.int64)


def student_quantile(p: float, freedom: float) -> float:
    """Return the quantile of Student's t for 0.5 <= p < 1."""
    x = beta_quantile(2 * (1 - p), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x) if x > 0 else math.inf


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x in [0, 1] below which Beta(a, b) has mass `p`, to machine precision."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function by its continued fraction."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b))
    return front * _fraction(x, a, b) / a


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _off_zero(1 + term * d, tiny)
            c = _off_zero(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _off_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
