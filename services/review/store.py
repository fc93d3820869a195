"""All SQL of asking and answering. A slot takes one answer, and an item has as many as it needs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, or_, select

from imece.events import Envelope, ReviewRequested, derived_id
from imece.runtime.database import insert_new
from services.review import core, ledger, slots
from services.review.people import Reviewer
from services.review.policy import Policy
from services.review.tables import DETAIL, ITEM, REVIEWER, SKIP, SLOT


def add(
    connection: Connection,
    events: Sequence[Envelope[ReviewRequested]],
    policy: Policy,
    now: float,
    chance: random.Random = slots.RANDOM,
) -> None:
    """Keep new requests and draw which are asked; a redelivery changes nothing."""
    for event in events:
        request = event.data
        drawn = core.draw(request, policy.sampling, chance.random())
        row = {
            "item": request.item,
            "request": derived_id("review", event.source, event.id),
            "origin": request.origin,
            "slice": request.slice,
            # What is not asked is only counted, so its text is not kept.
            "prompt": request.prompt if drawn.picked else "",
            "options": json.dumps(request.options if drawn.picked else (), ensure_ascii=False),
            "priority": core.PRIORITY[request.criticality],
            "inclusion": drawn.inclusion,
            "audit": drawn.audit,
            "answers": policy.answers,
            "state": "open" if drawn.picked else "unsampled",
            "traceparent": event.traceparent,
            "arrived": now,
        }
        if not insert_new(connection, ITEM, [row], returning="item"):
            continue
        _add_detail(connection, request, shown=drawn.picked)
        if drawn.picked:
            for number in range(policy.answers):
                slots.make_slot(connection, request.item, number)
        ledger.append(
            connection,
            now,
            "requested",
            item=request.item,
            content=derived_id(request.model_dump_json()),
            inclusion=drawn.inclusion,
            asked=drawn.picked,
            policy=policy.version,
        )


def _add_detail(connection: Connection, request: ReviewRequested, *, shown: bool) -> None:
    levels = len(request.options) if request.answer else 0
    if not levels and request.predicted is None:
        return
    row = {
        "item": request.item,
        "answer": request.answer if shown else "",
        "criterion": request.criterion,
        "levels": levels,
        "predicted": request.predicted,
    }
    insert_new(connection, DETAIL, [row])


def add_gold(
    connection: Connection,
    prompt: str,
    options: Sequence[str],
    right: int,
    now: float,
    *,
    answer: str = "",
    criterion: str = "",
) -> str:
    """Keep a question whose answer is known, to be hidden among the others; return its item."""
    rating = (answer, criterion) if answer else ()
    item = f"gold:{derived_id('gold', prompt, *rating, *options)}"
    row = {
        "item": item,
        "request": derived_id("review", item),
        "origin": "judgement",
        "slice": "gold",
        "prompt": prompt,
        "options": json.dumps(list(options), ensure_ascii=False),
        "priority": 0,
        "inclusion": 1.0,
        "audit": False,
        "answers": 0,
        "gold": right,
        "state": "gold",
        "arrived": now,
    }
    if insert_new(connection, ITEM, [row], returning="item"):
        if answer:
            detail = {"item": item, "answer": answer, "criterion": criterion}
            insert_new(connection, DETAIL, [{**detail, "levels": len(options), "predicted": None}])
        ledger.append(connection, now, "gold-added", item=item, right=right)
    return item


def claim(
    connection: Connection,
    reviewer: Reviewer,
    policy: Policy,
    now: float,
    chance: random.Random = slots.RANDOM,
) -> slots.Task | None:
    """Return the reviewer's next question, the same until answered; None when there is none."""
    # Two windows of one reviewer take turns here, others do not wait.
    connection.execute(
        select(REVIEWER.c.name).where(REVIEWER.c.name == reviewer.name).with_for_update()
    ).one()
    mine = slots.held(connection, reviewer.name, now)
    if mine is not None:
        return slots.task(connection, mine)
    slots.give_back(connection, reviewer.name)
    slot = _next(connection, reviewer, now)
    if slot is None:
        return None
    turn = core.turn(chance.random(), policy.checks)
    if turn == "gold":
        slot = _gold(connection, reviewer.name) or slot
    elif turn == "repeat":
        slot = _repeat(connection, reviewer.name, policy.checks.repeat_after) or slot
    return slots.lease(connection, slot, reviewer.name, policy, now)


def _next(connection: Connection, reviewer: Reviewer, now: float) -> slots.Found | None:
    """Lock and return the most pressing slot that this reviewer may fill."""
    answered = select(SLOT.c.item).where(
        SLOT.c.reviewer == reviewer.name, SLOT.c.state == "answered"
    )
    skipped = select(SKIP.c.item).where(SKIP.c.reviewer == reviewer.name)
    open_ = and_(ITEM.c.state == "open", ITEM.c.item.not_in(skipped))
    # An adjudicator may have skipped the item before, but not have answered it.
    conflict = and_(ITEM.c.state == "conflict", SLOT.c.number == ITEM.c.answers)
    return connection.execute(
        select(SLOT)
        .join(ITEM, ITEM.c.item == SLOT.c.item)
        .where(
            or_(open_, conflict) if reviewer.adjudicator else open_,
            slots.is_free(now),
            SLOT.c.number.is_not(None),
            ITEM.c.item.not_in(answered),
        )
        .order_by(ITEM.c.priority.desc(), ITEM.c.arrived, ITEM.c.item, SLOT.c.number)
        .limit(1)
        .with_for_update(of=SLOT, skip_locked=True)
    ).first()


def _gold(connection: Connection, reviewer: str) -> slots.Found | None:
    seen = select(SLOT.c.item).where(SLOT.c.reviewer == reviewer)
    skipped = select(SKIP.c.item).where(SKIP.c.reviewer == reviewer)
    item = connection.execute(
        select(ITEM.c.item)
        .where(ITEM.c.state == "gold", ITEM.c.item.not_in(seen), ITEM.c.item.not_in(skipped))
        .order_by(func.random())
        .limit(1)
    ).scalar()
    return slots.make_slot(connection, item, None) if item else None


def _repeat(connection: Connection, reviewer: str, after: int) -> slots.Found | None:
    """Make a slot for an item that the reviewer answered at least `after` answers ago."""
    again = select(SLOT.c.item).where(SLOT.c.reviewer == reviewer, SLOT.c.again)
    old = connection.execute(
        select(SLOT.c.item)
        .where(SLOT.c.reviewer == reviewer, SLOT.c.state == "answered", SLOT.c.number.is_not(None))
        .order_by(SLOT.c.answered.desc())
        .offset(after)
        .limit(1)
    ).scalar()
    if old is None or connection.execute(again.where(SLOT.c.item == old)).first():
        return None
    return slots.make_slot(connection, old, None, again=True)
