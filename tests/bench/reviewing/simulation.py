"""What criticality sampling does to a share, and what weighting does about it (H2)."""

from __future__ import annotations

import numpy as np

from services.review.estimates import Predicted, estimate
from services.review.policy import Sampling
from tests.bench.results import Row

ITEMS = 10_000
# Share of the items and their failure rate, by criticality: what is critical fails more often.
KINDS = {"low": (0.75, 0.04), "medium": (0.17, 0.12), "high": (0.06, 0.3), "safety": (0.02, 0.3)}
COVERAGE = (0.93, 0.97)
# How often an answer is the better one, where a judge that is right in 85 % said so beforehand.
JUDGED = {"low": 0.5, "medium": 0.5, "high": 0.6, "safety": 0.6}
RIGHT = 0.85


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
        *_with_a_judge(np.random.default_rng(seed), simulations),
    )


def _with_a_judge(chance: np.random.Generator, simulations: int) -> tuple[Row, ...]:
    """Let a judge's expectations speak for what nobody was asked (PPI++)."""
    rules, names = Sampling(), list(KINDS)
    sizes = [KINDS[name][0] for name in names]
    rates = np.array([JUDGED[name] for name in names])
    inclusion = np.array([max(getattr(rules, name), rules.floor) for name in names])
    errors, covered, widths, plain = [], [], [], []
    for _ in range(simulations):
        kind = chance.choice(len(names), ITEMS, p=sizes)
        better = chance.random(ITEMS) < rates[kind]
        told = np.where(chance.random(ITEMS) < RIGHT, better, ~better) * 0.8 + 0.1
        asked = chance.random(ITEMS) < inclusion[kind]
        hits, predicted, population = [], {}, {}
        for p in np.unique(inclusion[kind]).tolist():
            here = inclusion[kind] == p
            hits += [(p, float(hit)) for hit in better[here & asked]]
            parts = (told[here & asked].tolist(), told[here & ~asked].tolist())
            predicted[p], population[p] = Predicted(*parts), int(here.sum())
        found, alone = estimate(hits, population, predicted), estimate(hits, population)
        truth = float(better.mean())
        errors.append(found.share - truth)
        covered.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
        plain.append(alone.high - alone.low)
    bias, coverage = abs(float(np.mean(errors))), float(np.mean(covered))
    told_of = f"{simulations} simulations of {ITEMS} items, a judge right in {RIGHT:.0%}"
    width = float(np.mean(widths))
    return (
        Row("H2.ppi_bias", bias, "", "<= 0.002", bias <= 0.002, note=told_of),
        Row("H2.ppi_coverage", coverage, "", ">= 0.93", coverage >= 0.93, note=told_of),
        Row("H2.ppi_width", width, "", baselines={"people alone": float(np.mean(plain))}),
    )
