"""Slots: who holds a place for an answer, and until when. All steps of one caller's transaction."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select, update
from sqlalchemy.engine import Row

from services.review import core, ledger
from services.review.policy import Policy
from services.review.tables import DETAIL, ITEM, SLOT

Found = Row[Any]
RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Hold:
    """What a reviewer shows to prove that a question is theirs."""

    reviewer: str
    slot: str
    version: int


@dataclass(frozen=True, slots=True)
class Task:
    """A question as its reviewer sees it; `options` are in the order shown."""

    slot: str
    version: int
    item: str
    origin: str
    prompt: str
    options: tuple[str, ...]
    answer: str = ""
    """What is to be rated; then the options are levels."""
    criterion: str = ""


def lock(connection: Connection, name: str) -> Found:
    return connection.execute(select(ITEM).where(ITEM.c.item == name).with_for_update()).one()


def held(connection: Connection, reviewer: str, now: float) -> Found | None:
    return connection.execute(
        select(SLOT).where(
            SLOT.c.reviewer == reviewer, SLOT.c.state == "leased", SLOT.c.lease_until > now
        )
    ).first()


def is_free(now: float) -> Any:
    return or_(SLOT.c.state == "free", and_(SLOT.c.state == "leased", SLOT.c.lease_until <= now))


def give_back(connection: Connection, reviewer: str) -> None:
    """Free what the reviewer holds and did not answer; checks were made for them and vanish."""
    held = and_(SLOT.c.reviewer == reviewer, SLOT.c.state == "leased")
    connection.execute(delete(SLOT).where(held, SLOT.c.number.is_(None)))
    free(connection, held)


def free(connection: Connection, which: Any) -> None:
    connection.execute(
        update(SLOT).where(which).values(state="free", reviewer=None, version=SLOT.c.version + 1)
    )


def make_slot(
    connection: Connection, item: str, number: int | None, *, again: bool = False
) -> Found:
    id = str(uuid.uuid4())
    connection.execute(
        SLOT.insert().values(
            id=id,
            item=item,
            number=number,
            state="free",
            again=again,
            version=0,
            lease_until=0.0,
            leased=0.0,
            order="[]",
            announced=False,
        )
    )
    return connection.execute(select(SLOT).where(SLOT.c.id == id)).one()


def lease(connection: Connection, slot: Found, reviewer: str, policy: Policy, now: float) -> Task:
    item = connection.execute(select(ITEM).where(ITEM.c.item == slot.item)).one()
    options = json.loads(item.options)
    shuffled = RANDOM.sample(range(len(options)), len(options))
    rated = is_rated(connection, slot.item)
    order = core.shown_order(item.origin, options, shuffled, rated=rated)
    leased = connection.execute(
        update(SLOT)
        .where(SLOT.c.id == slot.id, SLOT.c.version == slot.version)
        .values(
            state="leased",
            reviewer=reviewer,
            version=slot.version + 1,
            lease_until=now + policy.lease_seconds,
            leased=now,
            order=json.dumps(order),
        )
        .returning(SLOT)
    ).one()
    ledger.append(connection, now, "leased", item=slot.item, reviewer=reviewer)
    return task(connection, leased)


def task(connection: Connection, slot: Found) -> Task:
    item = connection.execute(select(ITEM).where(ITEM.c.item == slot.item)).one()
    options = json.loads(item.options)
    shown = tuple(options[each] for each in json.loads(slot.order))
    more = connection.execute(select(DETAIL).where(DETAIL.c.item == slot.item)).first()
    rating = (more.answer, more.criterion) if more else ("", "")
    return Task(slot.id, slot.version, item.item, item.origin, item.prompt, shown, *rating)


def is_rated(connection: Connection, name: str) -> bool:
    """Tell whether the item's options are levels."""
    found = select(DETAIL.c.levels).where(DETAIL.c.item == name)
    return bool(connection.execute(found).scalar())
