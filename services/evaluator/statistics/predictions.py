"""Means from few labels and many predictions (PPI++): judges make human labels go further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from services.evaluator.statistics.intervals import Floats


@dataclass(frozen=True, slots=True)
class Stratum:
    """One part of the items: labels with their predictions, and the predictions of the rest.

    `weight` is the stratum's share of all items; shares sum to 1 over the strata.
    """

    labels: Sequence[float]
    predicted: Sequence[float]
    unlabelled: Sequence[float]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error; `power` is each stratum's tuned trust in predictions."""

    value: float
    se: float
    power: tuple[float, ...]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the normal interval."""
        half = NormalDist().inv_cdf(0.5 + level / 2) * self.se
        return self.value - half, self.value + half


def estimate(strata: Sequence[Stratum]) -> Estimate:
    """Return the mean over all strata; the trust is tuned in each, so predictions never harm.

    A stratum with fewer than three labels makes the standard error infinite.
    """
    parts = [_stratum(each) for each in strata]
    weights = [each.weight for each in strata]
    if not parts or not math.isclose(sum(weights), 1, abs_tol=1e-9):
        raise ValueError(f"the strata's weights sum to {sum(weights)}, not 1")
    value = sum(w * mean for w, (mean, _, _) in zip(weights, parts, strict=True))
    variance = sum(w * w * var for w, (_, var, _) in zip(weights, parts, strict=True))
    return Estimate(value, math.sqrt(variance), tuple(power for _, _, power in parts))


def _stratum(part: Stratum) -> tuple[float, float, float]:
    y, f = np.asarray(part.labels, dtype=float), np.asarray(part.predicted, dtype=float)
    rest = np.asarray(part.unlabelled, dtype=float)
    if y.size < 3:
        return float(y.mean()) if y.size else math.nan, math.inf, 0.0
    if rest.size == 0:
        return float(y.mean()), float(y.var(ddof=1)) / y.size, 0.0
    power = _power(y, f, rest)
    value = float(y.mean()) + power * (float(rest.mean()) - float(f.mean()))
    variance = float((y - power * f).var(ddof=2)) / y.size  # mean and trust are both fitted
    return value, variance + power**2 * float(rest.var()) / rest.size, power


def _power(y: Floats, f: Floats, rest: Floats) -> float:
    """Return the weight of the predictions that makes the variance smallest, within 0 and 1."""
    spread = float(np.concatenate([f, rest]).var())
    if spread == 0:
        return 0.0
    together = float(np.cov(y, f)[0, 1])
    return min(1.0, max(0.0, together / ((1 + y.size / rest.size) * spread)))
