"""What criticality sampling does to a share, and what weighting does about it (H2)."""

from __future__ import annotations

import numpy as np

from services.review.estimates import estimate
from services.review.policy import Sampling
from tests.bench.results import Row

ITEMS = 10_000
# Share of the items and their failure rate, by criticality: what is critical fails more often.
KINDS = {"low": (0.75, 0.04), "medium": (0.17, 0.12), "high": (0.06, 0.3), "safety": (0.02, 0.3)}
COVERAGE = (0.93, 0.97)


def rows(simulations: int, seed: int = 7) -> tuple[Row, ...]:
    """Sample and estimate `simulations` populations by the policy that ships."""
    chance, rules = np.random.default_rng(seed), Sampling()
    names = list(KINDS)
    sizes = np.array([KINDS[name][0] for name in names])
    rates = np.array([KINDS[name][1] for name in names])
    inclusion = np.array([max(getattr(rules, name), rules.floor) for name in names])
    errors, raw, covered, widths = [], [], [], []
    for _ in range(simulations):
        kind = chance.choice(len(names), ITEMS, p=sizes)
        failed = chance.random(ITEMS) < rates[kind]
        asked = chance.random(ITEMS) < inclusion[kind]
        hits = list(zip(inclusion[kind][asked].tolist(), failed[asked].tolist(), strict=True))
        values, counts = np.unique(inclusion[kind], return_counts=True)
        found = estimate(hits, dict(zip(values.tolist(), counts.tolist(), strict=True)))
        truth = float(failed.mean())
        errors.append(found.share - truth)
        raw.append(found.raw - truth)
        covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    bias, naive = abs(float(np.mean(errors))), float(np.mean(raw))
    coverage = float(np.mean(covered))
    told = f"{simulations} simulations of {ITEMS} items; true share {float(sizes @ rates):.3f}"
    wide = f"{told}; mean width {np.mean(widths):.3f}"
    holds = COVERAGE[0] <= coverage <= COVERAGE[1]
    return (
        Row("H2.bias", bias, "", "<= 0.002", bias <= 0.002, baselines={"raw": naive}, note=told),
        Row("H2.coverage", coverage, "", "0.93-0.97", holds, note=wide),
    )
