"""Rows J1-J6 and J10: what our way of judging makes of recorded answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imece.calibration.certificate import certify
from imece.calibration.core import Labelled, SliceReport, report
from services.evaluator.statistics.predictions import Stratum, estimate
from services.llm_judge.core import preferred
from services.llm_judge.panel import decide
from tests.bench.judging.recorded import Pair, llmbar, pandalm
from tests.bench.results import Row

STRONG = "GPT-4/Vanilla_NoRules"
CHEAP = ("ChatGPT/Vanilla_NoRules", "ChatGPT/Metrics_Reference")
TARGET, DELTA = 0.85, 0.1
SPLITS = 200
UNITS = {
    "J1": "accuracy",
    "J2": "|bias|",
    "J3": "coverage",
    "J4": "share",
    "J5": "x labels",
    "J6": "share",
    "J10": "share",
}
BARS = {
    "J1": ">= 0.85 at coverage >= 0.85",
    "J2": "<= 0.02",
    "J3": ">= 0.55, below target in <= 20 %",
    "J4": "1 escalates",
    "J5": ">= 1.3, coverage >= 0.94",
    "J6": "<= 0.5, accuracy >= 0.81 at coverage >= 0.85",
    "J10": "1",
}


def rows(data: Path, quick: bool) -> list[Row]:
    """Return the rows; those whose data is missing say so."""
    folder = data / "judge"
    pairs = llmbar(folder / "llmbar" / "MT-Bench") if (folder / "llmbar").is_dir() else []
    found: list[Row] = []
    if pairs:
        natural = llmbar(folder / "llmbar" / "Natural")
        found += [*agreement(pairs), bias(pairs), *certificates(pairs, natural), *cascade(pairs)]
    else:
        found += [missing(id, folder / "llmbar") for id in ("J1", "J2", "J3", "J6")]
    found += adversarial(folder / "llmbar" / "Adversarial")
    if (folder / "pandalm-testset.json").exists():
        judged = pandalm(folder)
        found += [*labels_saved(judged, 200 if quick else 1000), *reports(judged, pairs)]
    else:
        found += [missing(id, folder / "pandalm-testset.json") for id in ("J5", "J10")]
    return found


def missing(id: str, path: Path) -> Row:
    return Row(id, None, UNITS[id], BARS[id], note=f"{path} is not there")


def agreement(pairs: Sequence[Pair]) -> list[Row]:
    """J1: keep what both orders of the strong judge agree on."""
    told = [decide(pair.request, [pair.opinions[STRONG]]) for pair in pairs]
    kept = [(d.verdict, p.label) for d, p in zip(told, pairs, strict=True) if d.confidence == 1]
    accuracy = float(np.mean([verdict == label for verdict, label in kept]))
    coverage = len(kept) / len(pairs)
    plain = float(np.mean([_hits(pair, STRONG) for pair in pairs]))
    holds = accuracy >= 0.85 and coverage >= 0.85
    note = f"n {len(pairs)}, people's majority; GPT-4, recorded"
    return [
        Row(
            "J1", accuracy, "accuracy", BARS["J1"], holds, None, {"mean of one order": plain}, note
        ),
        Row("J1.coverage", coverage, "share", ">= 0.85", coverage >= 0.85),
    ]


def _hits(pair: Pair, judge: str) -> float:
    replies = pair.opinions[judge].replies
    told = [preferred(r.outcome, swapped=bool(n)) for n, r in enumerate(replies)]
    return float(np.mean([each == pair.label for each in told]))


def bias(pairs: Sequence[Pair]) -> Row:
    """J2: win rate of the first model by a weak judge, against people's."""
    value = {"a": 1.0, "b": 0.0, "tie": 0.5, "unscored": 0.5}
    people = np.mean([value[pair.label] for pair in pairs])
    opinions = [pair.opinions[CHEAP[0]] for pair in pairs]
    one = np.mean([value[preferred(o.replies[0].outcome, swapped=False)] for o in opinions])
    both = np.mean([value[vote] for opinion in opinions for vote in opinion.votes()])
    off = abs(float(both - people))
    note = f"ChatGPT on {len(pairs)} pairs (the published -0.195 is of 466, not all at hand)"
    baselines = {"one order": abs(float(one - people))}
    return Row("J2", off, "|bias|", BARS["J2"], off <= 0.02, None, baselines, note)


def certificates(pairs: Sequence[Pair], natural: Sequence[Pair]) -> list[Row]:
    """J3: certify on one half, look on the other, many times; one slice at a time as well."""
    judges = {"MT-Bench": (STRONG, *CHEAP), "Natural": ("GPT-4/Vanilla", "ChatGPT/Vanilla")}
    sets = {"MT-Bench": pairs, "Natural": natural}
    labelled = [p.labelled(judges[name], name) for name, each in sets.items() for p in each]
    coverage, below, given = _splits(labelled)
    note = (
        f"certified in {given:.0%} of {SPLITS} splits of {len(labelled)} pairs; the 500 records"
        " with probabilities are not at hand, so confidence is the share of agreeing votes"
    )
    holds = coverage >= 0.55 and below <= 0.2
    alone = _splits([row for row in labelled if row.slice == "MT-Bench"])
    return [
        Row("J3", coverage, "coverage", BARS["J3"], holds, note=note),
        Row("J3.below_target", below, "share of splits", "<= 0.20", below <= 0.2),
        Row(
            "J3.mt_bench",
            alone[2],
            "share of splits",
            note="MT-bench alone, 100 labels: how often 0.85 can be certified at all",
        ),
    ]


def _splits(labelled: Sequence[Labelled]) -> tuple[float, float, float]:
    """Return mean coverage where certified, share below target there, share certified."""
    chance = random.Random(11)
    scored = [(row.sure, row.verdict == row.people[0]) for row in labelled]
    coverages, below = [], 0
    for _ in range(SPLITS):
        chance.shuffle(scored)
        half = len(scored) // 2
        proven = certify(scored[:half], TARGET, DELTA)
        if proven:
            kept = [agrees for sure, agrees in scored[half:] if sure >= proven.threshold]
            coverages.append(len(kept) / (len(scored) - half))
            below += sum(kept) < TARGET * len(kept)
    if not coverages:
        return 0.0, 0.0, 0.0
    return float(np.mean(coverages)), below / len(coverages), len(coverages) / SPLITS


def cascade(pairs: Sequence[Pair]) -> list[Row]:
    """J6: two cheap judges that agree in all orders settle it; else the strong one; else people."""
    strong = settled = right = 0
    for pair in pairs:
        decision = decide(pair.request, [pair.opinions[name] for name in CHEAP])
        if decision.confidence != 1:
            strong += 1
            decision = decide(pair.request, [pair.opinions[STRONG]])
        if decision.confidence == 1:
            settled += 1
            right += decision.verdict == pair.label
    calls, accuracy, coverage = strong / len(pairs), right / settled, settled / len(pairs)
    holds = calls <= 0.5 and accuracy >= 0.81 and coverage >= 0.85
    note = f"{len(pairs)} pairs; four cheap votes, then GPT-4 in both orders, then people"
    return [
        Row("J6", calls, "share", BARS["J6"], holds, None, {"strong judge always": 1.0}, note),
        Row("J6.accuracy", accuracy, "accuracy", ">= 0.81", accuracy >= 0.81),
        Row("J6.coverage", coverage, "share", ">= 0.85", coverage >= 0.85),
    ]


def adversarial(folder: Path) -> list[Row]:
    """J4: judges that are mostly wrong on a slice get no certificate, however sure they are."""
    chance = random.Random(5)
    drawn = [[_fooled(chance) for _ in range(319)] for _ in range(500)]
    note = "500 judges at the published rates of ChatGPT: 59 % consistent, then 12 % right; n 319"
    rows = [_refused("J4.simulated", drawn, note)]
    if not folder.is_dir():
        return [missing("J4", folder), *rows]
    sets = [llmbar(each) for each in sorted(folder.iterdir()) if each.is_dir()]
    judges = sorted(n for n in sets[0][0].opinions if not n.startswith("GPT-4"))
    judged = [[p.labelled([n], "adversarial") for s in sets for p in s] for n in judges]
    scored = [[(row.sure, row.verdict == row.people[0]) for row in rows] for rows in judged]
    return [_refused("J4", scored, f"{len(judges)} recorded judges, n {len(scored[0])}"), *rows]


def _refused(id: str, scored: Sequence[Sequence[tuple[float, bool]]], note: str) -> Row:
    free = sum(certify(rows, TARGET, DELTA) is None for rows in scored) / len(scored)
    return Row(id, free, "share", BARS["J4"], free == 1, None, {"trust agreement": 0.0}, note)


def _fooled(chance: random.Random) -> tuple[float, bool]:
    consistent = chance.random() < 0.589
    return float(consistent), chance.random() < (0.122 if consistent else 0.5)


def labels_saved(judged: Sequence[Labelled], draws: int) -> list[Row]:
    """J5: how many labels prediction-powered intervals are worth, and whether they cover."""
    value = {"a": 1.0, "b": 0.0, "tie": 0.5, "unscored": 0.5}
    people = np.array([np.mean([value[each] for each in row.people]) for row in judged])
    judge = np.array([value[row.verdict] for row in judged])
    truth, chance = float(people.mean()), np.random.default_rng(3)
    gains, covered = [], 0
    for _ in range(draws):
        at = chance.integers(0, len(judged), len(judged))
        some, rest = at[:150], at[150:]
        powered = estimate([Stratum(people[some], judge[some], judge[rest])])
        gains.append(float(people[some].var(ddof=1)) / 150 / powered.se**2)
        low, high = powered.interval()
        covered += low <= truth <= high
    gain, coverage = float(np.mean(gains)), covered / draws
    holds = gain >= 1.3 and coverage >= 0.94
    note = f"PandaLM, GPT-3.5 in one order, 150 of 999 labels, {draws} draws"
    return [
        Row("J5", gain, "x labels", BARS["J5"], holds, None, {"labels alone": 1.0}, note),
        Row("J5.coverage", coverage, "share", ">= 0.94", coverage >= 0.94),
    ]


def reports(judged: Sequence[Labelled], pairs: Sequence[Pair]) -> list[Row]:
    """J10: what a report carries; the figures themselves beside it."""
    panda = report("pandalm", judged, TARGET, DELTA)
    slices = [panda]
    if pairs:
        slices.append(
            report("mt-bench", [p.labelled([STRONG], "mt") for p in pairs], TARGET, DELTA)
        )
    wanted = ("agreement", "kappa", "people_kappa", "flip_rate", "length_effect")
    # The first set has no second order and the second one label an item, so they share the work.
    there = [any(_told(each, name) for each in slices) for name in wanted]
    last = slices[-1]
    note = "figures with an interval and n, each from the set whose data allows it"
    return [
        Row("J10", sum(there) / len(there), "share", BARS["J10"], all(there), note=note),
        _figure("J10.agreement", panda, "agreement", "PandaLM, GPT-3.5: flattering by itself"),
        _figure("J10.kappa", panda, "kappa", "the same judge against each of three people"),
        _figure("J10.people_kappa", panda, "people_kappa", "those people against each other"),
        _figure("J10.flip_rate", last, "flip_rate", "GPT-4 on MT-bench"),
        _figure("J10.length_effect", last, "length_effect", "over people's own preference"),
    ]


def _told(of: SliceReport, name: str) -> bool:
    figure = getattr(of, name)
    return figure.value is not None and figure.low is not None and figure.n > 0


def _figure(id: str, of: SliceReport, name: str, note: str) -> Row:
    figure = getattr(of, name)
    interval = None if figure.low is None else (figure.low, figure.high)
    return Row(id, figure.value, "", ci=interval, note=f"n {figure.n}; {note}")
