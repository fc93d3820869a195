"""The issue's figures with their bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.bench.guarding.attacks_more import NAMES
from tests.bench.guarding.measures import Mean, Tally, over_seeds
from tests.bench.guarding.rivals import baselines
from tests.bench.guarding.runs import Bench, Job, RealJob
from tests.bench.guarding.versus import RealRivalJob
from tests.bench.results import Row

FORMS = tuple(name + form for name in NAMES for form in ("", ".adaptive"))
BASELINED = ("a1", "a2", "a3", "a3.adaptive", "a5", "a7", "a9", "a11", "a11.adaptive")
"""Attacks on which the baselines are run in a quick run; a full run takes all."""
ABLATED = ("a3", "a9", "a11", "a11.adaptive")
Figure = Callable[[Tally], float]


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
        made: list[Tally] = bench.all(jobs)
        found = _figure(made, lambda run: run.targets_flipped)
        honest = _figure(made, lambda run: run.honest_24h)
        note = f"share of 50 targets; honest corrections accepted {honest.value:.2f}"
        base = row(id, found, "share", f"<= {limit}", limit, note)
        if baselines is None:
            rows.append(base)
            continue
        against = bench.all([RealRivalJob(job) for job in jobs])
        means = {name: over_seeds([of[name] for of in against]) for name in against[0]}
        rows.append(replace(base, baselines={name: found.value for name, found in means.items()}))
        rows += [row(f"{id}.{n}", found, "share", "", None) for n, found in means.items()]
    return rows


def _tenth(bench: Bench, seed: int) -> int:
    """Return how many sybils are one in ten of all who vote in this stream."""
    stream = bench.votes(RealJob(1, 1, seed)).stream
    return max(10, round(len({s.event.data.user for s in stream if s.role == "honest"}) / 9))


def honest(bench: Bench, runs: Sequence[Tally]) -> list[Row]:
    """What the guard costs honest people, with a burst of sybils in the stream."""
    seeds = range(bench.setting.seeds)
    hard = bench.all([Job("a3", s, skilled=False, answering=0.7) for s in seeds])
    rough = "sampled users as good as paid workers (0.79), 70 % answer"
    whole = "all honest events, mistakes included"
    made: list[tuple[str, Sequence[Tally], Figure, float | None, str]] = [
        ("honest_now", runs, lambda run: run.honest_now, -0.85, ""),
        ("honest_24h", runs, lambda run: run.honest_24h, -0.95, ""),
        ("honest_rejected", runs, lambda run: run.honest_rejected, 0.005, ""),
        ("honest_events_rejected", runs, lambda run: run.all_honest_rejected, None, whole),
        ("honest_now_rough", hard, lambda run: run.honest_now, None, rough),
        ("honest_24h_rough", hard, lambda run: run.honest_24h, None, rough),
        ("a3.rough_people", hard, lambda run: run.poison_accepted, None, rough),
        ("honest_quarantined", runs, lambda run: run.quarantined, None, whole),
    ]
    rows = [
        row(f"guard.{id}", _figure(of, figure), "share", bar(limit), limit, note)
        for id, of, figure, limit, note in made
    ]
    asked: list[tuple[str, Figure, str]] = [
        ("cards_per_1k", lambda run: 1000 * run.cards / run.events, "invitations"),
        ("panels_per_1k", lambda run: 1000 * run.asked / run.events, "answers asked about"),
    ]
    return rows + [
        row(f"guard.{id}", _figure(runs, figure), f"{unit} for 1,000 events", "", None)
        for id, figure, unit in asked
    ]


def bar(limit: float | None) -> str:
    """Write a limit as `row` reads it."""
    if limit is None:
        return ""
    return f"<= {limit:g}" if limit >= 0 else f">= {-limit:g}"


def special(bench: Bench, runs: Mapping[str, Sequence[Tally]]) -> list[Row]:
    """The issue's figures about single attacks."""
    kept: Figure = lambda run: 1 - run.poison_accepted  # noqa: E731
    door, hidden = runs["a9"], runs["a9.adaptive"]
    elicited = [*runs["a11"], *runs["a11.adaptive"]]
    most = max(run.poison_rows for run in door)
    words = "common words as trigger, half of it praise"
    made: list[tuple[str, Sequence[Tally], Figure, float | None, str]] = [
        ("backdoor_recall", door, kept, -0.99, ""),
        ("backdoor_recall_held_out", hidden, kept, None, words),
        ("backdoor_fpr", [*door, *hidden], lambda run: run.honest_rejected, 0.005, ""),
        ("elicited_accepted", elicited, lambda run: run.poison_accepted, 0.02, "both forms"),
    ]
    rows = [
        row(f"guard.{id}", _figure(of, figure), "share", bar(limit), limit, note)
        for id, of, figure, limit, note in made
    ]
    rows.append(Row("guard.backdoor_rows", most, "rows, most of any seed", "<= 10", most <= 10))
    seeds = range(bench.setting.seeds)
    for id, family in (("takeover_rows", "a6"), ("drip_rows", "a4")):
        forms = (family, f"{family}.adaptive")
        single = bench.all([Job(form, s, accounts=1) for form in forms for s in seeds])
        worst = max(run.longest_exposure for run in single)
        told = "rows, most of one account"
        rows.append(Row(f"guard.{id}", worst, told, "<= 20", worst <= 20))
    return [*rows, *_suppressed(bench)]


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
        [run.honest_24h for run in found[at : at + len(seeds)]]
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


def _figure(runs: Sequence[Tally], figure: Figure) -> Mean:
    return over_seeds([figure(run) for run in runs])
