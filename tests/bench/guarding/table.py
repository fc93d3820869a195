"""The benchmark's rows: the issue's figures with their bars, then every attack by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from services.feedback_guard import claims
from tests.bench.guarding import measures
from tests.bench.guarding.attacks_more import HELD_OUT, NAMES
from tests.bench.guarding.driving import Drive
from tests.bench.guarding.measures import Mean, over_seeds
from tests.bench.guarding.rivals import MISSING, RIVALS, baselines
from tests.bench.guarding.runs import ABLATIONS, WITHOUT, Bench, Job, RealJob, ablated
from tests.bench.guarding.stream import Sent
from tests.bench.results import Row

FORMS = tuple(name + form for name in NAMES for form in ("", ".adaptive"))
BASELINED = ("a1", "a2", "a3", "a3.adaptive", "a5", "a7", "a9", "a11", "a11.adaptive")
"""Attacks on which the baselines are run in a quick run (a full run takes all of them), and the
ablations and the grid of accounts in a full one."""
ABLATED = ("a3", "a9", "a11", "a11.adaptive")
Figure = Callable[[Drive], float]


def row(id: str, found: Mean, unit: str, bar: str, limit: float | None, note: str = "") -> Row:
    """Compare with a limit: positive means at most, negative at least."""
    holds = None
    if limit is not None:
        holds = found.value <= limit if limit >= 0 else found.value >= -limit
    ci = found.ci
    if ci is not None and unit.startswith("share"):
        ci = (max(0.0, ci[0]), min(1.0, ci[1]))
    told = f"{found.seeds} runs" + (f"; {note}" if note else "")
    return Row(id, found.value, unit, bar, holds, ci, note=told)


def sybils(bench: Bench) -> list[Row]:
    """Real votes with ten camouflaged sybils, and with one in ten active users a sybil."""
    rows = []
    for id, accounts, a_target, limit in (
        ("guard.sybil_accepted", 10, 5, 0.02),
        ("guard.sybil10_accepted", None, 10, 0.05),
    ):
        jobs = [
            RealJob(accounts or _tenth(bench, seed), a_target, seed)
            for seed in range(bench.setting.seeds)
        ]
        made = bench.all(jobs)
        found = over_seeds([measures.targets_flipped(run) for run in made])
        honest = over_seeds([measures.honest_24h(run) for run in made])
        note = f"share of 50 targets; honest corrections accepted {honest.value:.2f}"
        base = row(id, found, "share", f"<= {limit}", limit, note)
        if baselines is None:
            rows.append(base)
            continue
        stream = bench.votes(jobs[0]).stream
        others = {n: _flipped(stream, f(stream)) for n, f in baselines.crowd().items()}
        rows.append(replace(base, baselines=others))
        rows += [Row(f"{id}.{n}", v, "share", note="seed 0") for n, v in others.items()]
    return rows


def _tenth(bench: Bench, seed: int) -> int:
    """Return how many sybils are one in ten of all who vote in this stream."""
    stream = bench.votes(RealJob(1, 1, seed)).stream
    return max(10, round(len({s.event.data.user for s in stream if s.role == "honest"}) / 9))


def _flipped(stream: Sequence[Sent], accepted: set[str]) -> float:
    """Share of attacked questions on which a poison row was accepted."""
    poison = [s for s in stream if s.role == "poison"]
    aimed = {s.event.id: claims.claim_id("default", s.event.data.prompt) for s in poison}
    return len({c for id, c in aimed.items() if id in accepted}) / len(set(aimed.values()))


def honest(bench: Bench, runs: Sequence[Drive]) -> list[Row]:
    """What the guard costs honest people, with a burst of sybils in the stream."""
    each = partial(_figure, runs)
    seeds = range(bench.setting.seeds)
    hard = bench.all([Job("a3", s, skilled=False, answering=0.7) for s in seeds])
    rough = "sampled users as good as paid workers (0.79), 70 % answer"
    return [
        row("guard.honest_now", each(measures.honest_now), "share", ">= 0.85", -0.85),
        row("guard.honest_24h", each(measures.honest_24h), "share", ">= 0.95", -0.95),
        row("guard.honest_rejected", each(measures.honest_rejected), "share", "<= 0.005", 0.005),
        row(
            "guard.honest_events_rejected",
            each(measures.all_honest_rejected),
            "share",
            "",
            None,
            "all honest events, mistakes included",
        ),
        row("guard.honest_now_rough", _figure(hard, measures.honest_now), "share", "", None, rough),
        row(
            "guard.a3.rough_people",
            _figure(hard, measures.poison_accepted),
            "share",
            "",
            None,
            rough,
        ),
        row("guard.honest_quarantined", each(measures.quarantined), "share", "", None),
        row(
            "guard.cards_per_1k",
            each(lambda run: 1000 * run.cards / len(run.courses)),
            "invitations for 1,000 events",
            "",
            None,
        ),
        row(
            "guard.panels_per_1k",
            each(lambda run: 1000 * run.asked / len(run.courses)),
            "answers asked about for 1,000 events",
            "",
            None,
        ),
    ]


def special(bench: Bench, runs: Mapping[str, Sequence[Drive]]) -> list[Row]:
    """The issue's figures about single attacks."""
    kept: Figure = lambda run: 1 - measures.poison_accepted(run)  # noqa: E731
    door, hidden = runs["a9"], runs["a9.adaptive"]
    seeds = range(bench.setting.seeds)
    alone = [
        Job(a, s, accounts=1) for a in ("a6", "a6.adaptive", "a4", "a4.adaptive") for s in seeds
    ]
    single = bench.all(alone)
    taken, drips = single[: len(single) // 2], single[len(single) // 2 :]
    worst = max(map(measures.longest_exposure, taken))
    slow = max(map(measures.longest_exposure, drips))
    most = max(map(measures.poison_rows, door))
    return [
        row("guard.backdoor_recall", _figure(door, kept), "share", ">= 0.99", -0.99),
        row(
            "guard.backdoor_recall_held_out",
            _figure(hidden, kept),
            "share",
            "",
            None,
            "common words as trigger, half of it praise",
        ),
        row(
            "guard.backdoor_fpr",
            _figure([*door, *hidden], measures.honest_rejected),
            "share",
            "<= 0.005",
            0.005,
        ),
        Row("guard.backdoor_rows", most, "rows, most of any seed", "<= 10", most <= 10),
        row(
            "guard.elicited_accepted",
            _figure([*runs["a11"], *runs["a11.adaptive"]], measures.poison_accepted),
            "share",
            "<= 0.02",
            0.02,
            "both forms, none held out any more",
        ),
        Row("guard.takeover_rows", worst, "rows, most of one account", "<= 20", worst <= 20),
        Row("guard.drip_rows", slow, "rows, most of one account", "<= 20", slow <= 20),
        *_suppressed(bench),
    ]


def _suppressed(bench: Bench) -> list[Row]:
    """Share of true corrections that are lost when one in five raters is hostile; or one in three.

    The attacker's new accounts vote but are not asked; `against` is the hostile share of the asked.
    """
    seeds = range(bench.setting.seeds)
    people = [len(bench.world(seed)[0].people) for seed in seeds]
    fifth = [Job("a12", s, accounts=max(1, people[s] // 4), against=0.2) for s in seeds]
    third = [replace(job, against=1 / 3) for job in fifth]
    found = bench.all([Job("", s) for s in seeds] + fifth + third)
    calm, *wars = (
        [measures.honest_24h(run) for run in found[at : at + len(seeds)]]
        for at in range(0, len(found), len(seeds))
    )
    lost = [
        [max(0.0, 1 - war / still) if still else 1.0 for still, war in zip(calm, w, strict=True)]
        for w in wars
    ]
    told = "share of true corrections lost"
    return [
        row("guard.suppressed", over_seeds(lost[0]), told, "<= 0.05", 0.05, "20 % hostile"),
        row("guard.suppressed_third", over_seeds(lost[1]), told, "", None, "33 % hostile"),
    ]


def attack_rows(bench: Bench, runs: Mapping[str, Sequence[Drive]]) -> list[Row]:
    """Poison accepted, one row an attack; adaptive and held-out ones are named as such."""
    rows = []
    for name, of in runs.items():
        note = "held out" if name in HELD_OUT else "development"
        most = max(map(measures.poison_rows, of))
        note += f"; at most {most} rows in"
        rows.append(
            row(f"guard.{name}", _figure(of, measures.poison_accepted), "share", "", None, note)
        )
    return rows


def grid_rows(
    bench: Bench, forms: Sequence[str], shape: Mapping[float, Sequence[int]]
) -> list[Row]:
    """Poison accepted by share of hostile events and number of accounts (seed 0)."""
    jobs = [
        Job(form, 0, rate=rate, accounts=accounts)
        for form in forms
        for rate, many in shape.items()
        for accounts in many
    ]
    return [
        Row(
            f"guard.{job.attack}.rate{job.rate:g}.accounts{job.accounts}",
            measures.poison_accepted(run),
            "share",
            note=f"seed 0; {measures.poison_rows(run)} of {len(measures.poison(run))} rows in",
        )
        for job, run in zip(jobs, bench.all(jobs), strict=True)
    ]


def baseline_rows(bench: Bench, names: Sequence[str]) -> list[Row]:
    """The same streams under what is published or simple (seed 0)."""
    if baselines is None:
        return [
            Row(f"guard.{name}.{n}", None, "share", note=MISSING) for name in names for n in RIVALS
        ]
    rows = []
    content = baselines.content_filter(bench.material)
    for name in names:
        stream = bench.stream(name, 0)
        aimed = [s.event.id for s in stream if s.role == "poison" and s.teaches]
        mine = [s.event.id for s in stream if s.role == "honest" and s.correction and s.right]
        for label, method in {**baselines.crowd(), "content": content}.items():
            passed = method(stream)
            bad = sum(id in passed for id in aimed) / len(aimed)
            good = sum(id in passed for id in mine) / len(mine)
            note = f"seed 0; honest corrections accepted {good:.2f}"
            rows.append(Row(f"guard.{name}.{label}", bad, "share", note=note))
    return rows


def ablation_rows(bench: Bench, names: Sequence[str]) -> list[Row]:
    """Poison accepted without one stage (seed 0)."""
    jobs = [Job(name, 0, without=stage) for stage in WITHOUT for name in names]
    rows, able = [], []
    for job in jobs:
        try:
            if job.without in ABLATIONS:
                ablated(bench.policy, job.without)
            able.append(job)
        except KeyError as missing:
            id = f"guard.{job.attack}.without_{job.without}"
            rows.append(Row(id, None, "share", note=f"the policy has no {missing}"))
    for job, run in zip(able, bench.all(able), strict=True):
        note = f"seed 0; honest {measures.honest_24h(run):.2f}; {measures.poison_rows(run)} rows in"
        id = f"guard.{job.attack}.without_{job.without}"
        rows.append(Row(id, measures.poison_accepted(run), "share", note=note))
    return rows


def _figure(runs: Sequence[Drive], figure: Figure) -> Mean:
    return over_seeds([figure(run) for run in runs])
