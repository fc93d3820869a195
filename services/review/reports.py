"""What operators and reviewers are told: the queue, progress, reliability."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from services.review import core
from services.review.people import Reviewer
from services.review.slots import is_free
from services.review.tables import DETAIL, ITEM, REVIEWER, SKIP, SLOT


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one reviewer is; `left` counts what this reviewer may still be asked."""

    mine: int
    left: int
    undoable: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why there is no question for a reviewer, and when there may be one."""

    reason: str
    """`nothing`, `leased` (others are at it), `yours` (you answered or skipped the rest)."""
    seconds: float | None = None


def progress(connection: Connection, reviewer: Reviewer, since: float) -> Progress:
    """Count answers and open items; `since` is the time after which an answer can be undone."""
    mine = and_(SLOT.c.reviewer == reviewer.name, SLOT.c.state == "answered")
    given = connection.execute(
        select(
            func.count(),
            func.count(case((and_(SLOT.c.answered > since, SLOT.c.announced.is_(False)), 1))),
        ).where(mine)
    ).one()
    skips = connection.execute(
        select(func.count())
        .select_from(SKIP)
        .where(SKIP.c.reviewer == reviewer.name, SKIP.c.at > since, SKIP.c.announced.is_(False))
    ).scalar_one()
    left = connection.execute(
        select(func.count()).select_from(ITEM).where(_for(reviewer))
    ).scalar_one()
    return Progress(given[0], left, bool(given[1] or skips))


def _for(reviewer: Reviewer) -> Any:
    """Items that this reviewer may still answer, whoever is at them now."""
    answered = select(SLOT.c.item).where(
        SLOT.c.reviewer == reviewer.name, SLOT.c.state == "answered"
    )
    skipped = select(SKIP.c.item).where(SKIP.c.reviewer == reviewer.name)
    open_ = and_(ITEM.c.state == "open", ITEM.c.item.not_in(skipped))
    wanted = or_(open_, ITEM.c.state == "conflict") if reviewer.adjudicator else open_
    return and_(wanted, ITEM.c.item.not_in(answered))


def waiting(connection: Connection, reviewer: Reviewer, now: float) -> Waiting:
    """Say why there is no question now."""
    until = connection.execute(
        select(func.min(SLOT.c.lease_until))
        .join(ITEM, ITEM.c.item == SLOT.c.item)
        .where(_for(reviewer), SLOT.c.state == "leased", SLOT.c.number.is_not(None))
    ).scalar()
    if until is not None:
        return Waiting("leased", max(0.0, until - now))
    unsettled = ITEM.c.state.in_(("open", "conflict"))
    left = connection.execute(select(func.count()).select_from(ITEM).where(unsettled)).scalar_one()
    return Waiting("yours" if left else "nothing")


def items(connection: Connection, now: float, limit: int) -> list[dict[str, Any]]:
    """Return asked items that are not settled, the most pressing first, and what they wait for."""
    free = func.count(case((is_free(now), 1)))
    given = func.count(case((SLOT.c.state == "answered", 1)))
    rows = connection.execute(
        select(ITEM, free.label("free"), given.label("given"))
        .join(SLOT, and_(SLOT.c.item == ITEM.c.item, SLOT.c.number.is_not(None)), isouter=True)
        .where(ITEM.c.state.in_(("open", "conflict")))
        .group_by(*ITEM.c)
        .order_by(ITEM.c.priority.desc(), ITEM.c.arrived, ITEM.c.item)
        .limit(limit)
    )
    return [
        {
            "item": row.item,
            "slice": row.slice,
            "state": row.state,
            "answers": f"{row.given}/{row.answers}",
            "waits for": _wait(row),
            "inclusion": row.inclusion,
            "age s": round(now - row.arrived),
        }
        for row in rows
    ]


def _wait(row: Any) -> str:
    if not row.free:
        return "those who are at it"
    return "an adjudicator who has not answered it" if row.state == "conflict" else "a reviewer"


def reliabilities(connection: Connection) -> list[dict[str, Any]]:
    """Return how far each reviewer can be relied on."""
    first = {
        (row.reviewer, row.item): row.choice
        for row in connection.execute(
            select(SLOT.c.reviewer, SLOT.c.item, SLOT.c.choice).where(
                SLOT.c.state == "answered", SLOT.c.again.is_(False)
            )
        )
    }
    given: dict[str, list[core.Given]] = defaultdict(list)
    for row in connection.execute(
        select(SLOT, ITEM.c.gold, ITEM.c.outcome, DETAIL.c.levels)
        .join(ITEM, ITEM.c.item == SLOT.c.item)
        .join(DETAIL, DETAIL.c.item == ITEM.c.item, isouter=True)
        .where(SLOT.c.state == "answered")
    ):
        earlier = first.get((row.reviewer, row.item)) if row.again else None
        outcome = None if row.again else row.outcome
        one = core.Given(row.choice, row.gold, earlier, outcome, bool(row.levels))
        given[row.reviewer].append(one)
    names = connection.execute(select(REVIEWER.c.name).order_by(REVIEWER.c.name)).scalars()
    return [{"reviewer": name, **asdict(core.reliability(given[name]))} for name in names]
