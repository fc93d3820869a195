"""One row per attack and baseline, ablation, and share of events by number of accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.bench.guarding import content, weighed
from tests.bench.guarding.ablations import WITHOUT, ablated
from tests.bench.guarding.attacks_more import HELD_OUT
from tests.bench.guarding.measures import Tally, over_seeds
from tests.bench.guarding.rivals import CHEAP, MISSING, baselines
from tests.bench.guarding.runs import Bench, Job
from tests.bench.guarding.table import row
from tests.bench.guarding.versus import RivalJob
from tests.bench.guarding.weighed import DEVELOPMENT, DoorJob, ScoreJob
from tests.bench.results import Row

DOORS = ("a2", "a9", "a9.adaptive", "a10", "a10.adaptive")
"""Attacks with few target answers, which RFTC is made for."""
CORRECTIONS = "true corrections accepted"
CROWD_EVENTS = 20_000
"""Honest events beside which a twentieth is a thousand hostile ones, of as many accounts."""


def attack_rows(runs: Mapping[str, Sequence[Tally]]) -> list[Row]:
    """Poison accepted, one row an attack; adaptive and held-out ones are named as such."""
    rows = []
    for name, of in runs.items():
        told = "held out" if name in HELD_OUT else "development"
        note = f"{told}; at most {max(r.poison_rows for r in of)} rows in"
        found = over_seeds([r.poison_accepted for r in of])
        rows.append(row(f"guard.{name}", found, "share", "", None, note))
    return rows


def grid_rows(
    bench: Bench, forms: Sequence[str], shape: Mapping[float, Sequence[int]]
) -> list[Row]:
    """Poison accepted by share of hostile events and number of accounts."""
    made = [
        [
            Job(form, seed, rate, accounts, events=bench.setting.wide)
            for seed in range(bench.setting.seeds)
        ]
        for form in forms
        for rate, many in shape.items()
        for accounts in many
    ]
    return _grid(bench, made)


def crowd_rows(bench: Bench, forms: Sequence[str]) -> list[Row]:
    """A thousand accounts that act, which takes a stream of its own size (seed 0)."""
    return _grid(bench, [[Job(f, 0, 0.05, 1_000, events=CROWD_EVENTS)] for f in forms])


def _grid(bench: Bench, made: Sequence[Sequence[Job]]) -> list[Row]:
    runs = iter(bench.all([job for jobs in made for job in jobs]))
    rows = []
    for jobs in made:
        of: list[Tally] = [next(runs) for _ in jobs]
        first = jobs[0]
        id = f"guard.{first.attack}.rate{first.rate:g}.accounts{first.accounts}"
        note = (
            f"{sum(r.poison_rows for r in of)} of {sum(r.poison for r in of)} rows in; "
            f"{first.events or bench.setting.events} honest events"
        )
        found = over_seeds([r.poison_accepted for r in of])
        rows.append(row(id, found, "share", "", None, note))
    return rows


def ablation_rows(bench: Bench, names: Sequence[str]) -> list[Row]:
    """Poison accepted without one stage; `without_nothing` is the guard on the same streams."""
    rows, able = [], []
    for stage in ("nothing", *WITHOUT):
        try:
            ablated(bench.policy, stage)
            able.append(stage)
        except KeyError as missing:
            why = f"the policy has no {missing}"
            ids = [f"guard.{name}.without_{stage}" for name in names]
            rows += [Row(id, None, "share", note=why) for id in ids]
    made = [
        [
            Job(name, s, without=stage.removeprefix("nothing"), events=bench.setting.wide)
            for s in range(bench.setting.seeds)
        ]
        for stage in able
        for name in names
    ]
    runs = iter(bench.all([job for jobs in made for job in jobs]))
    for jobs in made:
        of: list[Tally] = [next(runs) for _ in jobs]
        honest = over_seeds([r.honest_24h for r in of]).value
        note = f"{sum(r.poison_rows for r in of)} rows in"
        found = over_seeds([r.poison_accepted for r in of])
        id = f"guard.{jobs[0].attack}.without_{jobs[0].without or 'nothing'}"
        made = row(id, found, "share", "", None, note)
        rows.append(replace(made, baselines={CORRECTIONS: honest}))
    return rows


def baseline_rows(bench: Bench, names: Sequence[str]) -> list[Row]:
    """The same streams under what is published or simple and needs no model."""
    if baselines is None:
        return [
            Row(f"guard.{name}.{n}", None, "share", note=MISSING) for name in names for n in CHEAP
        ]
    seeds = range(bench.setting.seeds)
    runs = iter(bench.all([RivalJob(name, seed) for name in names for seed in seeds]))
    rows = []
    for name in names:
        of = [next(runs) for _ in seeds]
        for label in of[0]:
            rows.append(_passed(f"guard.{name}.{label}", [found[label] for found in of]))
    return rows


def _passed(id: str, of: Sequence[Sequence[float]]) -> Row:
    """A baseline's poison, with what it does to true corrections."""
    honest = over_seeds([good for _, good in of]).value
    made = row(id, over_seeds([bad for bad, _ in of]), "share", "", None)
    return replace(made, baselines={CORRECTIONS: honest})


def weighed_rows(
    bench: Bench, method: str, names: Sequence[str], size: tuple[int, int]
) -> list[Row]:
    """A baseline that scores sampled rows by a model, `size` poison and honest rows a seed."""
    seeds = range(bench.setting.seeds)
    jobs = [ScoreJob(method, DEVELOPMENT, weighed.DEVELOPED_ON, 4 * size[0], 4 * size[1])]
    developed, *scored = bench.all(
        [*jobs, *(ScoreJob(method, s, tuple(names), *size) for s in seeds)]
    )
    at = weighed.cut(developed)
    honest = [score for of in scored for score in of["honest"]]
    good = content.share("honest", [s >= at for s in honest])
    rows = [replace(good, id=f"guard.{method}.honest", note=f"{good.note}; true corrections")]
    for name in names:
        called = [score >= at for of in scored for score in of[name]]
        made = content.share(f"guard.{name}.{method}", called)
        note = f"{made.note}; cut {at:.2f} of the development seed"
        rows.append(replace(made, note=note, baselines={CORRECTIONS: good.value or 0.0}))
    return rows


def door_rows(bench: Bench, names: Sequence[str] = DOORS) -> list[Row]:
    """RFTC, where answers have few targets."""
    seeds = range(bench.setting.seeds)
    of = bench.all([DoorJob(seed, tuple(names)) for seed in seeds])
    return [_passed(f"guard.{name}.rftc", [found[name] for found in of]) for name in names]
