"""Error rates, power and coverage by simulation, at fixed seeds; bounds leave room for chance."""

from __future__ import annotations

import numpy as np
import pytest

from services.evaluator.statistics import intervals, paired, predictions, sequential
from services.evaluator.statistics.predictions import Stratum


def clustered(random: np.random.Generator, clusters: int, size: int, icc: float) -> np.ndarray:
    shared = random.normal(size=(clusters, 1)) * np.sqrt(icc)
    return (shared + random.normal(size=(clusters, size)) * np.sqrt(1 - icc)).ravel()


def test_mcnemar_keeps_its_error_rate_and_has_power() -> None:
    random = np.random.default_rng(1)
    equal = random.multinomial(500, [0.1, 0.1, 0.8], size=1500)[:, :2]
    # 80 % against 85 % right with correlation 0.6: 8.95 % to 3.95 % discordant
    better = random.multinomial(500, [0.0785, 0.0285, 0.893], size=1500)[:, :2]
    alarms, found = (
        np.mean([paired.mcnemar(int(w), int(ls)) < 0.05 for w, ls in pairs])
        for pairs in (equal, better)
    )
    assert alarms <= 0.055
    assert found >= 0.87


@pytest.mark.parametrize(("clusters", "size", "icc"), [(60, 5, 0.3), (60, 5, 0.0), (20, 10, 0.7)])
def test_dependent_items_do_not_raise_false_alarms(clusters: int, size: int, icc: float) -> None:
    random = np.random.default_rng(2)
    names = np.repeat(np.arange(clusters), size).tolist()
    told = [
        intervals.clustered_mean(clustered(random, clusters, size, icc), names).p_value() < 0.05
        for _ in range(1000)
    ]
    assert 0.03 <= np.mean(told) <= 0.065


def test_the_cluster_bootstrap_covers_the_true_difference() -> None:
    random = np.random.default_rng(3)
    names = np.repeat(np.arange(60), 5).tolist()
    covered = 0
    for seed in range(300):
        values = clustered(random, 60, 5, 0.5) + 0.2
        found = paired.difference(values.tolist(), [0.0] * 300, names, resamples=500, seed=seed)
        covered += found.low <= 0.2 <= found.high
    assert covered / 300 >= 0.92


def test_looking_after_every_pair_raises_no_false_alarm_and_finds_a_better_model() -> None:
    random = np.random.default_rng(4)

    def stopped(share: float, pairs: int, runs: int) -> float:
        won = random.random((runs, pairs)) < share
        told = 0
        for row in won:
            wins = np.cumsum(row)
            told += any(
                sequential.state(int(w), n - int(w)) != "undecided" for n, w in enumerate(wins, 1)
            )
        return told / runs

    assert stopped(0.5, 150, 300) <= 0.06
    assert stopped(0.75, 150, 100) >= 0.9


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [30, 100, 1000])
def test_wilson_covers_near_its_level(n: int, share: float) -> None:
    right = np.random.default_rng(5).binomial(n, share, size=2000)
    ends = {int(k): intervals.wilson(int(k), n) for k in set(right.tolist())}
    covered = np.mean([ends[int(k)][0] <= share <= ends[int(k)][1] for k in right])
    assert 0.92 <= covered <= 0.985


def test_predictions_shorten_the_interval_and_keep_its_coverage() -> None:
    random = np.random.default_rng(7)
    covered, ratio = [], []
    for _ in range(1500):
        truth = (random.random(900) < 0.6).astype(float)
        predicted = np.where(random.random(900) < 0.85, truth, 1 - truth)
        strata = [
            Stratum(truth[:75], predicted[:75], predicted[75:450], 0.5),
            Stratum(truth[450:525], predicted[450:525], predicted[525:], 0.5),
        ]
        found = predictions.estimate(strata)
        low, high = found.interval()
        covered.append(low <= 0.6 <= high)
        labels = np.concatenate([truth[:75], truth[450:525]])
        ratio.append((labels.var(ddof=1) / 150) / found.se**2)
    assert np.mean(covered) >= 0.93
    assert np.mean(ratio) >= 1.3
