"""From which confidence on a judge provably agrees with people: fixed-sequence testing. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """At `threshold` and above, agreement is at least `target` with confidence 1 - `delta`."""

    target: float
    delta: float
    threshold: float
    coverage: float
    """Share of the calibration items at or above the threshold."""
    agreement: float
    """What was seen there."""
    n: int


def certify(rows: Sequence[tuple[float, bool]], target: float, delta: float) -> Certificate | None:
    """Return the widest certificate that `rows` of (confidence, agrees) prove; None if none.

    Thresholds are tested from the strictest down, each at level `delta`, until the first that
    fails: the order does not depend on the labels, so no correction is due. The first threshold is
    the strictest with enough items to pass at all.
    """
    if not 0 < target < 1 or not 0 < delta < 1:
        raise ValueError(f"target {target} and delta {delta} have to lie between 0 and 1")
    enough = math.ceil(math.log(delta) / math.log(target))
    found: Certificate | None = None
    for threshold in sorted({confidence for confidence, _ in rows}, reverse=True):
        kept = [agrees for confidence, agrees in rows if confidence >= threshold]
        if len(kept) < enough:
            continue
        if lower_bound(sum(kept), len(kept), delta) < target:
            break
        share = sum(kept) / len(kept)
        found = Certificate(target, delta, threshold, len(kept) / len(rows), share, len(kept))
    return found


def lower_bound(hits: int, n: int, alpha: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a share."""
    if hits == 0:
        return 0.0
    low, high = 0.0, hits / n
    for _ in range(60):
        middle = (low + high) / 2
        if beta_cdf(middle, hits, n - hits + 1) < alpha:
            low = middle
        else:
            high = middle
    return low


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function (Lentz)."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / (1 + step * d or tiny)
            c = 1 + step / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value
