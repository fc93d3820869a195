"""E4 to E7, P2: error rates, power and coverage of the statistics, by simulation or exactly."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np

from services.evaluator.statistics import classes, intervals, paired, sequential
from tests.bench.results import Row

_Z = NormalDist().inv_cdf(0.975)
_COVERED = (0.93, 0.98)


def rows(quick: bool) -> Iterator[Row]:
    """Yield the rows; a quick run takes fewer simulations, not other ones."""
    runs = 1_000 if quick else 5_000
    yield from _paired(runs)
    yield _clustered(runs)
    yield from _sequential(runs // 4)
    yield from _coverage()
    yield from _macro_f1()


def _paired(runs: int) -> Iterator[Row]:
    random = np.random.default_rng(1)
    equal = random.multinomial(500, [0.1, 0.1, 0.8], size=runs)[:, :2]
    alarms = _share(equal)
    yield Row("E4.iid", alarms, "false alarms", "<= 0.055", alarms <= 0.055, note="McNemar")
    # 80 % against 85 % right, correlation 0.6
    both = 0.8 * 0.85 + 0.6 * math.sqrt(0.8 * 0.2 * 0.85 * 0.15)
    wins, losses = 0.85 - both, 0.80 - both
    drawn = random.multinomial(500, [wins, losses, both, 1 - wins - losses - both], size=runs)
    power = _share(drawn[:, :2])
    new, old = (drawn[:, i] + drawn[:, 2] for i in (0, 1))
    spread = np.sqrt((new * (500 - new) + old * (500 - old)) / 500**3)
    theirs = float(np.mean((new - old) / 500 / spread > _Z))
    yield Row(
        "E5.power",
        power,
        "share",
        ">= 0.87",
        power >= 0.87,
        _ci(power, runs),
        {"unpaired z": theirs},
        "80 against 85 % right, 500 items",
    )


def _share(pairs: np.ndarray) -> float:
    return float(np.mean([paired.mcnemar(int(w), int(n)) < 0.05 for w, n in pairs]))


def _ci(share: float, runs: int) -> tuple[float, float]:
    return intervals.wilson(round(share * runs), runs)


def _clustered(runs: int) -> Row:
    random = np.random.default_rng(2)
    names = np.repeat(np.arange(60), 5).tolist()
    ours = naive = 0
    for _ in range(runs):
        shared = random.normal(size=(60, 1)) * math.sqrt(0.3)
        values = (shared + random.normal(size=(60, 5)) * math.sqrt(0.7)).ravel()
        ours += intervals.clustered_mean(values, names).p_value() < 0.05
        naive += intervals.clustered_mean(values, range(300)).p_value() < 0.05
    value = ours / runs
    return Row(
        "E4.clustered",
        value,
        "false alarms",
        "<= 0.06",
        value <= 0.06,
        _ci(value, runs),
        {"items taken as independent": naive / runs},
        "60 clusters of 5, ICC 0.3",
    )


def _sequential(runs: int) -> Iterator[Row]:
    random = np.random.default_rng(3)
    looks = np.arange(50, 1001, 50)
    equal = np.cumsum(random.random((runs, 1000)) < 0.5, axis=1)
    told = naive = 0
    for wins in equal:
        told += any(
            sequential.state(int(wins[n - 1]), int(n - wins[n - 1])) != "undecided" for n in looks
        )
        naive += any(paired.mcnemar(int(wins[n - 1]), int(n - wins[n - 1])) < 0.05 for n in looks)
    value = told / runs
    yield Row(
        "E4.twenty_looks",
        value,
        "false alarms",
        "<= 0.05",
        value <= 0.05,
        _ci(value, runs),
        {"McNemar at each look": naive / runs},
    )
    yield from _rollback(random, runs)


def _rollback(random: np.random.Generator, runs: int) -> Iterator[Row]:
    """Count the pairs after which a champion that got 5 points worse is noticed."""
    kinds = random.choice([1, -1, 0], p=[0.05, 0.10, 0.85], size=(runs, 3000))
    seen, false = [], 0
    for row in kinds:
        seen.append(_stop(row, "worse"))
    equal = random.choice([1, -1, 0], p=[0.075, 0.075, 0.85], size=(runs, 1000))
    false = sum(_stop(row, "worse") < 1000 for row in equal)
    median = float(np.median(seen))
    note = "discordance 0.15, checked after every pair"
    yield Row("P2.pairs", median, "pairs, median", "<= 500", median <= 500, note=note)
    share = false / runs
    beside = {"McNemar every 50 pairs": float(np.mean([_peeked(row) for row in equal]))}
    yield Row(
        "P2.false_rollback", share, "share", "<= 0.05", share <= 0.05, _ci(share, runs), beside
    )


def _peeked(row: np.ndarray) -> bool:
    """Tell whether looking at a plain test every 50 pairs would roll an equal model back."""
    wins, losses = np.cumsum(row == 1), np.cumsum(row == -1)
    looks = range(49, len(row), 50)
    pairs = ((int(wins[at]), int(losses[at])) for at in looks)
    return any(bad > good and paired.mcnemar(good, bad) < 0.05 for good, bad in pairs)


def _stop(row: np.ndarray, wanted: str) -> int:
    wins = losses = 0
    for at, kind in enumerate(row):
        if kind == 0:
            continue
        wins, losses = wins + (kind == 1), losses + (kind == -1)
        if sequential.state(wins, losses) == wanted:
            return at + 1
    return len(row)


def _coverage() -> Iterator[Row]:
    """Coverage summed over all outcomes: exact, not simulated."""
    grid = [(n, p) for n in (30, 100, 300, 1000) for p in (0.5, 0.8, 0.9, 0.95, 0.99)]
    found = {at: _covered(*at, intervals.wilson) for at in grid}
    wald = [_covered(*at, _wald) for at in grid]
    low, high = _COVERED
    bar = f"{low} to {high}"
    for name, pick, holds in (
        ("lowest", min, lambda v: v >= low),
        ("highest", max, lambda v: v <= high),
    ):
        n, p = pick(found, key=lambda at: found[at])
        value = found[n, p]
        can = _attainable(n, p)
        note = f"Wilson with Poisson ends, at n {n}, share {p}"
        if not holds(value) and not can:
            note += "; there no interval is within the bar: it holds one outcome more or less"
        yield Row(
            f"E6.{name}", value, "coverage", bar, holds(value), None, {"Wald": pick(wald)}, note
        )
    outside = [at for at, value in found.items() if not low <= value <= high]
    missed = sum(_attainable(*at) for at in outside)
    note = f"of {len(grid)}; {len(outside)} outside the bar"
    yield Row(
        "E6.missed", float(missed), "points that could be within", "0", missed == 0, note=note
    )


def _covered(n: int, p: float, interval: Callable[[int, int], tuple[float, float]]) -> float:
    ends = [interval(k, n) for k in range(n + 1)]
    return sum(_chance(k, n, p) for k, (low, high) in enumerate(ends) if low <= p <= high)


def _wald(k: int, n: int) -> tuple[float, float]:
    half = _Z * math.sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


def _chance(k: int, n: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _attainable(n: int, p: float) -> bool:
    """Tell whether some run of outcomes that holds the likeliest one has a coverage in the bar."""
    sums = np.cumsum([0.0, *(_chance(k, n, p) for k in range(n + 1))])
    mode = min(n, math.floor((n + 1) * p))
    covers = sums[mode + 1 :, None] - sums[None, : mode + 1]
    return bool(((covers >= _COVERED[0]) & (covers <= _COVERED[1])).any())


def _macro_f1() -> Iterator[Row]:
    for name, labels in (("seconds", 3), ("seconds_77_labels", 77)):
        random = np.random.default_rng(4)
        gold = random.integers(0, labels, 2000)
        said = [np.where(random.random(2000) < q, gold, (gold + 1) % labels) for q in (0.8, 0.78)]
        began = time.process_time()
        classes.macro_f1_difference(gold.tolist(), said[0].tolist(), said[1].tolist(), labels)
        took = time.process_time() - began
        bar = "<= 0.3" if labels == 3 else ""
        note = f"{labels} labels, 2,000 items, 10,000 paired resamples, CPU seconds"
        beside = _loop(gold, said[0])
        yield Row(f"E7.{name}", took, "s", bar, took <= 0.3 if bar else None, None, beside, note)


def _loop(gold: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Time scikit-learn once a resample, for one model, where somebody installed it."""
    try:
        f1_score = importlib.import_module("sklearn.metrics").f1_score
    except ModuleNotFoundError:
        return {}
    random, few = np.random.default_rng(5), 50
    began = time.process_time()
    for _ in range(few):
        drawn = random.integers(0, len(gold), len(gold))
        f1_score(gold[drawn], said[drawn], average="macro")
    return {"scikit-learn, one model": (time.process_time() - began) * 10_000 / few}
