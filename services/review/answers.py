"""What reviewers do with a question: answer it, skip it, take that back; and what follows."""

from __future__ import annotations

import json

from sqlalchemy import Connection, and_, delete, func, select, update

from imece.errors import RejectedError
from imece.runtime.database import insert_new
from services.review import core, ledger, slots
from services.review.policy import Policy
from services.review.tables import ITEM, SKIP, SLOT


def answer(
    connection: Connection, hold: slots.Hold, shown: int, policy: Policy, now: float
) -> None:
    """Keep an answer, `shown` being its place on the page; sending it twice changes nothing.

    `RejectedError` when the lease passed to somebody else or there is no such option.
    """
    found = _mine(connection, hold)
    order = json.loads(found.order)
    if not 0 <= shown < len(order):
        raise RejectedError("no_such_option", f"there are {len(order)} options")
    if found.state == "answered":
        return
    choice = order[shown]
    connection.execute(
        update(SLOT)
        .where(SLOT.c.id == hold.slot)
        .values(state="answered", choice=choice, answered=now)
    )
    ledger.append(
        connection,
        now,
        "answered",
        item=found.item,
        reviewer=hold.reviewer,
        choice=choice,
        shown=order,
        seconds=round(now - found.leased, 3),
        again=found.again,
    )
    _settle(connection, found.item, policy, now)


def skip(connection: Connection, hold: slots.Hold, reason: str, policy: Policy, now: float) -> None:
    """Give a question back for a reason; its reviewer is not asked it again."""
    found = _mine(connection, hold)
    if reason not in core.REASONS:
        raise RejectedError("no_such_reason", f"the reasons are {', '.join(core.REASONS)}")
    if found.state == "answered":
        return
    if found.number is None:
        connection.execute(delete(SLOT).where(SLOT.c.id == hold.slot))
    else:
        slots.free(connection, SLOT.c.id == hold.slot)
    if not found.again:
        row = {"item": found.item, "reviewer": hold.reviewer, "reason": reason, "at": now}
        insert_new(connection, SKIP, [{**row, "announced": False}])
    ledger.append(
        connection, now, "skipped", item=found.item, reviewer=hold.reviewer, reason=reason
    )
    _settle(connection, found.item, policy, now)


def undo(connection: Connection, reviewer: str, policy: Policy, now: float) -> None:
    """Take back the reviewer's last answer or skip and show the question again.

    `RejectedError` when there is none, or it is too late: it left the service, or an adjudicator
    has decided.
    """
    since = now - policy.undo_seconds
    last = connection.execute(
        select(SLOT)
        .where(SLOT.c.reviewer == reviewer, SLOT.c.state == "answered")
        .order_by(SLOT.c.answered.desc())
        .limit(1)
    ).first()
    skipped = connection.execute(
        select(SKIP).where(SKIP.c.reviewer == reviewer).order_by(SKIP.c.at.desc()).limit(1)
    ).first()
    newest: slots.Found | None = last
    if skipped is not None and (last is None or skipped.at > last.answered):
        newest = skipped
    if newest is None:
        raise RejectedError("nothing_to_undo", "there is no answer of yours to take back")
    item = slots.lock(connection, newest.item)
    done = newest.at if newest is skipped else newest.answered
    if newest.announced or done <= since:
        raise RejectedError("too_late", "the last answer is final by now")
    if newest is skipped:
        _unskip(connection, item, reviewer, policy, now)
    else:
        _unanswer(connection, item, newest, policy, now)
    ledger.append(connection, now, "undone", item=item.item, reviewer=reviewer)
    _settle(connection, item.item, policy, now)


def _unskip(
    connection: Connection, item: slots.Found, reviewer: str, policy: Policy, now: float
) -> None:
    if item.state == "adjudicated":
        raise RejectedError("too_late", "an adjudicator has decided by now")
    connection.execute(delete(SKIP).where(SKIP.c.item == item.item, SKIP.c.reviewer == reviewer))
    slots.give_back(connection, reviewer)
    free = connection.execute(
        select(SLOT)
        .where(SLOT.c.item == item.item, slots.is_free(now), SLOT.c.number < item.answers)
        .order_by(SLOT.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if free is not None:
        slots.lease(connection, free, reviewer, policy, now)


def _unanswer(
    connection: Connection, item: slots.Found, slot: slots.Found, policy: Policy, now: float
) -> None:
    if item.state == "adjudicated" and slot.number != item.answers:
        raise RejectedError("too_late", "an adjudicator has decided by now")
    slots.give_back(connection, slot.reviewer)
    connection.execute(
        update(SLOT)
        .where(SLOT.c.id == slot.id)
        .values(
            state="leased",
            choice=None,
            answered=None,
            version=slot.version + 1,
            lease_until=now + policy.lease_seconds,
            leased=now,
        )
    )


def _settle(connection: Connection, name: str, policy: Policy, now: float) -> None:
    """Bring the item's state in line with its answers, and open or close the adjudicator's slot."""
    item = slots.lock(connection, name)
    if item.state in ("gold", "unsampled"):
        return
    given = connection.execute(
        select(SLOT.c.number, SLOT.c.choice).where(
            SLOT.c.item == name, SLOT.c.state == "answered", SLOT.c.number.is_not(None)
        )
    ).all()
    choices = [row.choice for row in given if row.number < item.answers]
    final = next((row.choice for row in given if row.number == item.answers), None)
    skips = connection.execute(
        select(func.count()).select_from(SKIP).where(SKIP.c.item == name)
    ).scalar_one()
    rated = slots.is_rated(connection, name)
    most = policy.most_skips
    state, outcome = core.settle(choices, item.answers, skips, most, final, rated=rated)
    if state == item.state and outcome == item.outcome:
        return
    connection.execute(update(ITEM).where(ITEM.c.item == name).values(state=state, outcome=outcome))
    adjudication = and_(SLOT.c.item == name, SLOT.c.number == item.answers)
    if (
        state == "conflict"
        and not connection.execute(select(SLOT.c.id).where(adjudication)).first()
    ):
        slots.make_slot(connection, name, item.answers)
    elif state in ("open", "agreed"):
        connection.execute(delete(SLOT).where(adjudication))
    ledger.append(connection, now, "settled", item=name, state=state, outcome=outcome)


def _mine(connection: Connection, hold: slots.Hold) -> slots.Found:
    found = connection.execute(select(SLOT.c.item).where(SLOT.c.id == hold.slot)).first()
    if found is not None:
        slots.lock(connection, found.item)
        held = connection.execute(
            select(SLOT).where(SLOT.c.id == hold.slot).with_for_update()
        ).first()
        if held is not None and (held.reviewer, held.version) == (hold.reviewer, hold.version):
            return held
    raise RejectedError("lease_lost", "the question went to somebody else; nothing was kept")
