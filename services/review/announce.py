"""Answers that can no longer be taken back, as the events that leave the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from imece.events import Envelope, ReviewAnswered, derived_id
from services.review.policy import Policy
from services.review.slots import Found
from services.review.tables import ITEM, SKIP, SLOT

SOURCE = "imece/review"


@dataclass(frozen=True, slots=True)
class Final:
    """One answer or skip to announce."""

    event: Envelope[ReviewAnswered]
    slot: str | None


def finals(connection: Connection, policy: Policy, now: float, limit: int = 500) -> list[Final]:
    """Return answers and skips past the undo window that no broker has acknowledged."""
    since = now - policy.undo_seconds
    answered = connection.execute(
        select(SLOT, *_CONTEXT)
        .join(ITEM, ITEM.c.item == SLOT.c.item)
        .where(
            SLOT.c.state == "answered",
            SLOT.c.number.is_not(None),  # hidden checks are nobody else's business
            SLOT.c.announced.is_(False),
            SLOT.c.answered <= since,
        )
        .order_by(SLOT.c.answered)
        .limit(limit)
    ).all()
    skipped = connection.execute(
        select(SKIP, *_CONTEXT)
        .join(ITEM, ITEM.c.item == SKIP.c.item)
        .where(SKIP.c.announced.is_(False), SKIP.c.at <= since, ITEM.c.gold.is_(None))
        .order_by(SKIP.c.at)
        .limit(limit)
    ).all()
    return [_answer(row) for row in answered] + [_skip(row) for row in skipped]


_CONTEXT = (ITEM.c.request, ITEM.c.inclusion, ITEM.c.slice, ITEM.c.answers, ITEM.c.traceparent)


def _answer(row: Found) -> Final:
    data = ReviewAnswered(
        item=row.item,
        reviewer=row.reviewer,
        choice=row.choice,
        adjudicated=row.number == row.answers,
        inclusion=row.inclusion,
        slice=row.slice,
    )
    return Final(_event(row, data, "answer", row.answered), row.id)


def _skip(row: Found) -> Final:
    data = ReviewAnswered(
        item=row.item,
        reviewer=row.reviewer,
        reason=row.reason,
        inclusion=row.inclusion,
        slice=row.slice,
    )
    return Final(_event(row, data, "skip", row.at), None)


def _event(row: Found, data: ReviewAnswered, kind: str, at: float) -> Envelope[ReviewAnswered]:
    id = derived_id(SOURCE, kind, row.request, row.reviewer)
    return Envelope(data, id, SOURCE, datetime.fromtimestamp(at, UTC), row.traceparent)


def mark_announced(connection: Connection, announced: Sequence[Final]) -> None:
    """The broker has these."""
    slots = [each.slot for each in announced if each.slot is not None]
    connection.execute(update(SLOT).where(SLOT.c.id.in_(slots)).values(announced=True))
    for each in announced:
        if each.slot is None:
            of = SKIP.c.item == each.event.data.item, SKIP.c.reviewer == each.event.data.reviewer
            connection.execute(update(SKIP).where(*of).values(announced=True))
