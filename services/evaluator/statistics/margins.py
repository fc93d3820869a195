"""Paired shares against a margin, also where few or no pairs differ."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from services.evaluator.statistics.intervals import beta_cdf, clustered_mean, upper_bound

_MOST_ITEMS = 1_000_000


@dataclass(frozen=True, slots=True)
class Shift:
    """Candidate minus baseline, as a share of right answers, with its standard error.

    `spread` is how many times the groups widen the variance of independent items, at least 1.
    """

    value: float
    se: float
    discordance: float
    spread: float
    n: int
    clusters: int

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of "the shift is at most `bound`"."""
        if self.clusters < 2:
            return 1.0
        freedom = self.clusters - 1
        t = (self.value - bound) / self.se
        tail = beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5) / 2 if t else 0.5
        return tail if t >= 0 else 1 - tail

    def p_below(self, bound: float) -> float:
        """Return the one-sided p-value of "the shift is at least `bound`"."""
        mirrored = Shift(-self.value, self.se, self.discordance, self.spread, self.n, self.clusters)
        return mirrored.p_above(-bound)


def shift(candidate: Sequence[bool], baseline: Sequence[bool], groups: Sequence[Hashable]) -> Shift:
    """Compare right answers of the same items; whole groups vary together.

    The standard error is never below the one with one more pair of each kind that differs
    (Bonett and Price 2012), so that no pair that differs does not mean no doubt. `ValueError`
    without items.
    """
    gains = [int(new) - int(old) for new, old in zip(candidate, baseline, strict=True)]
    mean = clustered_mean(gains, groups)
    alone = clustered_mean(gains, range(len(gains)))
    units = mean.clusters
    wins, losses = (gains.count(side) * units / mean.n + 1 for side in (1, -1))
    both = (wins + losses) / (units + 2)
    floor = math.sqrt((both - ((wins - losses) / (units + 2)) ** 2) / (units + 2))
    se = max(floor, mean.se) if math.isfinite(mean.se) else floor
    spread = 1.0
    if math.isfinite(mean.se) and math.isfinite(alone.se) and alone.se > 0:
        spread = max(1.0, (mean.se / alone.se) ** 2)
    return Shift(mean.value, se, both, spread, mean.n, units)


def items_for_margin(found: Shift, margin: float, alpha: float, power: float) -> int:
    """Return about how many items show that an equal model is not worse by `margin`."""
    normal = NormalDist()
    root = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    needed = root * root * found.discordance * found.spread / (margin * margin)
    return max(found.n + 1, math.ceil(needed))


def items_for_bound(bad: int, n: int, limit: float, level: float) -> int | None:
    """Return about how many items bring a rate like `bad` of `n` under `limit`; None: never."""
    rate = bad / n if n else 0.0
    if rate >= limit:
        return None
    size = max(1, n)
    while size < _MOST_ITEMS:
        if upper_bound(math.ceil(rate * size), size, level) <= limit:
            return size
        size = max(size + 1, int(size * 1.02))
    return None
