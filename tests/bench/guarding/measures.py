"""Shares over finished runs, with confidence intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import sqrt
from statistics import mean, stdev

from tests.bench.guarding.driving import Course, Drive
from tests.bench.guarding.stream import BEGIN

DAY = timedelta(hours=24)
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles for 1, 2, … degrees of freedom."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and its 95 % interval (none for one seed)."""

    value: float
    ci: tuple[float, float] | None
    seeds: int


def over_seeds(values: Sequence[float]) -> Mean:
    """Return the mean with Student's interval."""
    middle = mean(values)
    if len(values) < 2:
        return Mean(middle, None, len(values))
    quantile = _STUDENT[min(len(values) - 2, len(_STUDENT) - 1)]
    half = quantile * stdev(values) / sqrt(len(values))
    return Mean(middle, (middle - half, middle + half), len(values))


@dataclass(frozen=True)
class Tally:
    """What one run came to, small enough to be sent between processes and kept."""

    events: int
    poison: int
    poison_accepted: float
    poison_rows: int
    targets_flipped: float
    longest_exposure: float
    honest_now: float
    honest_24h: float
    honest_rejected: float
    all_honest_rejected: float
    quarantined: float
    cards: int
    asked: int
    rows_at: list[float]
    """Hours of the stream at which poison rows got in that are still in."""
    corrections: int
    believed_after: list[float]
    """Hours after they were sent at which true corrections were believed."""
    fooled_after: list[float]
    """The same for poison."""


def tally(run: Drive) -> Tally:
    """Return all figures of a run."""
    aimed, true = poison(run), true_corrections(run)
    return Tally(
        events=len(run.courses),
        poison=len(aimed),
        poison_accepted=poison_accepted(run),
        poison_rows=poison_rows(run),
        targets_flipped=targets_flipped(run) if aimed else 0.0,
        longest_exposure=longest_exposure(run),
        honest_now=honest_now(run),
        honest_24h=honest_24h(run),
        honest_rejected=honest_rejected(run),
        all_honest_rejected=all_honest_rejected(run),
        quarantined=quarantined(run),
        cards=run.cards,
        asked=run.asked,
        rows_at=sorted(_accepted_at(c) for c in aimed if c.row),
        corrections=len(true),
        believed_after=sorted(_accepted_at(c) - _sent_at(c) for c in true if c.accepted),
        fooled_after=sorted(_accepted_at(c) - _sent_at(c) for c in aimed if c.accepted),
    )


def _sent_at(course: Course) -> float:
    return (course.sent.event.time - BEGIN).total_seconds() / 3600


def _accepted_at(course: Course) -> float:
    """Return when it was first accepted, in hours of the stream."""
    when = next(at for at, decision in course.decisions if decision.verdict == "accept")
    return (when - BEGIN).total_seconds() / 3600


def share(part: Sequence[object]) -> float:
    """Return the share of true values; nothing counts as 0."""
    return sum(map(bool, part)) / len(part) if part else 0.0


def poison(run: Drive) -> list[Course]:
    """What the attacker wants to be trained on."""
    return [c for c in run.courses if c.sent.role == "poison" and c.sent.teaches]


def true_corrections(run: Drive) -> list[Course]:
    """Honest corrections that people had judged right."""
    return [
        c for c in run.courses if c.sent.role == "honest" and c.sent.correction and c.sent.right
    ]


def poison_accepted(run: Drive) -> float:
    return share([c.accepted for c in poison(run)])


def poison_rows(run: Drive) -> int:
    return sum(c.row for c in poison(run))


def targets_flipped(run: Drive) -> float:
    """Share of attacked claims on which any poison was believed."""
    aimed = {c.last.claim for c in poison(run)}
    return len({c.last.claim for c in poison(run) if c.accepted}) / len(aimed)


def honest_now(run: Drive) -> float:
    """Believed at once or by sampled users' second opinions, without the operator's people."""
    return share([c.within(DAY) and not c.staff for c in true_corrections(run)])


def honest_24h(run: Drive) -> float:
    return share([c.within(DAY) for c in true_corrections(run)])


def honest_rejected(run: Drive) -> float:
    return share([c.last.verdict == "reject" for c in true_corrections(run)])


def all_honest_rejected(run: Drive) -> float:
    """Share of all honest events, mistakes included, that were rejected."""
    honest = [c for c in run.courses if c.sent.role == "honest"]
    return share([c.last.verdict == "reject" for c in honest])


def quarantined(run: Drive) -> float:
    """Share of honest events that are in quarantine in the end."""
    honest = [c for c in run.courses if c.sent.role == "honest"]
    return share([c.last.verdict == "quarantine" for c in honest])


def longest_exposure(run: Drive) -> float:
    """Most poison rows let in from one account."""
    rows: dict[str, int] = {}
    for course in poison(run):
        if course.row:
            rows[course.last.user] = rows.get(course.last.user, 0) + 1
    return float(max(rows.values(), default=0))
