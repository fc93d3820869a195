"""What a finite sample allows to claim: bounds on rates, thresholds that keep a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence


def upper(hits: int, total: int, confidence: float = 0.95) -> float:
    """Return the Clopper-Pearson upper bound of a rate of which `hits` of `total` were seen.

    One-sided: the true rate is above it in at most 1 - `confidence` of all samples.
    """
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} of {total} is no share")
    if hits == total:
        return 1.0
    low, high = hits / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(hits, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def threshold(honest: Sequence[float], rate: float, confidence: float = 0.95) -> float:
    """Return the lowest cut such that honest scores at or above it are rarer than `rate`.

    The bound holds for a finite sample with `confidence`, as long as honest users go on as in the
    sample; with too few scores for the wanted rate it is infinite: nothing may be rejected.
    """
    scores, best = sorted(honest, reverse=True), math.inf
    for hits, score in enumerate(scores):
        if upper(hits, len(scores), confidence) > rate:
            break
        best = math.nextafter(score, math.inf)
    return best


def _at_most(hits: int, total: int, rate: float) -> float:
    """Return the probability of at most `hits` of `total`."""
    if rate in (0.0, 1.0):
        return 1.0 if rate == 0.0 or hits == total else 0.0
    odds = (
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(total - k + 1)
        + k * math.log(rate)
        + (total - k) * math.log1p(-rate)
        for k in range(hits + 1)
    )
    return min(1.0, sum(map(math.exp, odds)))
