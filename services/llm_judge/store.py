"""All SQL of the judge: requests, who works on them, verdicts, replies and what was spent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    MetaData,
    String,
    Table,
    Text,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.engine import Row

from imece.events import Envelope, JudgementCompleted, JudgementRequested, derived_id
from imece.runtime.database import insert_new
from services.llm_judge.screen import constant_form

METADATA = MetaData()
JUDGEMENTS = Table(
    "judgement",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("request", Text, nullable=False),
    Column("traceparent", String(200)),
    Column("arrived", Float, nullable=False),
    Column("owner", String(64)),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("verdict", Text),
    Column("judged", Float),
    Column("announced", Boolean, nullable=False, default=False, index=True),
)
REPLIES = Table(
    "judge_reply",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("said", Text, nullable=False),
    Column("at", Float, nullable=False),
)
SPENT = Table(
    "judge_spent",
    METADATA,
    Column("account", String(200), primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    Column("money", Float, nullable=False),
)
ANSWERS = Table(
    "judge_answer",
    METADATA,
    Column("evaluation", String(200), primary_key=True),
    Column("answer", String(64), primary_key=True),
    Column("prompt", String(64), primary_key=True),
)
CONSTANT_FROM = 5
"""An answer that stands under so many different prompts of an evaluation is a constant."""
_C = JUDGEMENTS.c


@dataclass(frozen=True, slots=True)
class Stored:
    """One request, with its verdict once there is one."""

    id: str
    request: JudgementRequested
    traceparent: str | None
    verdict: JudgementCompleted | None
    judged: datetime | None
    arrived: float


def key(event: Envelope[JudgementRequested]) -> str:
    """Return the row id of a request; a redelivery has the same."""
    return derived_id("judgement", event.source, event.id)


def add(
    connection: Connection, events: Sequence[Envelope[JudgementRequested]], now: float
) -> list[Stored]:
    """Keep new requests; return those among `events` that have been judged already."""
    rows = [
        {
            "id": key(event),
            "request": event.data.model_dump_json(),
            "traceparent": event.traceparent,
            "arrived": now,
            "lease_until": 0.0,
            "announced": False,
        }
        for event in events
    ]
    ids = [row["id"] for row in rows]
    judged = connection.execute(
        select(JUDGEMENTS).where(_C.id.in_(ids), _C.verdict.is_not(None)).order_by(_C.id)
    ).all()
    insert_new(connection, JUDGEMENTS, rows)
    answers = (row for event in events for row in _answers(event.data))
    insert_new(connection, ANSWERS, list({tuple(row.values()): row for row in answers}.values()))
    return [_stored(row) for row in judged]


def claim(connection: Connection, owner: str, now: float, lease: float, limit: int) -> list[Stored]:
    """Take up to `limit` requests that nobody works on, oldest first, until `now` + `lease`."""
    rows = connection.execute(
        select(JUDGEMENTS)
        .where(_C.verdict.is_(None), _C.lease_until <= now)
        .order_by(_C.arrived, _C.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in rows]
    connection.execute(
        update(JUDGEMENTS).where(_C.id.in_(ids)).values(owner=owner, lease_until=now + lease)
    )
    return [_stored(row) for row in rows]


def release(connection: Connection, owner: str) -> None:
    """Give back what `owner` has not judged."""
    connection.execute(
        update(JUDGEMENTS)
        .where(_C.owner == owner, _C.verdict.is_(None))
        .values(owner=None, lease_until=0.0)
    )


def park(connection: Connection, id: str, until: float) -> None:
    """Put a request aside: nobody takes it before `until`."""
    connection.execute(
        update(JUDGEMENTS)
        .where(_C.id == id, _C.verdict.is_(None))
        .values(owner=None, lease_until=until)
    )


def replies(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """Return what was said to these calls before."""
    rows = connection.execute(select(REPLIES).where(REPLIES.c.key.in_(keys))).all()
    return {row.key: row.said for row in rows}


def add_replies(connection: Connection, said: Mapping[str, str], now: float) -> None:
    """Remember replies for identical calls; the first one stands."""
    rows = [{"key": key, "said": text, "at": now} for key, text in said.items()]
    insert_new(connection, REPLIES, rows)


def reserve(
    connection: Connection,
    account: str,
    tokens: int,
    money: float,
    limits: tuple[int | None, float | None],
) -> bool:
    """Charge `account` if it stays within both limits; tell whether it did."""
    insert_new(connection, SPENT, [{"account": account, "tokens": 0, "money": 0.0}])
    within = [SPENT.c.account == account]
    if limits[0] is not None:
        within.append(SPENT.c.tokens + tokens <= limits[0])
    if limits[1] is not None:
        within.append(SPENT.c.money + money <= limits[1])
    return settle(connection, account, tokens, money, within) == 1


def settle(
    connection: Connection,
    account: str,
    tokens: int,
    money: float,
    within: Iterable[ColumnElement[bool]] = (),
) -> int:
    """Add to what `account` has spent; return how many rows that changed."""
    changed = connection.execute(
        update(SPENT)
        .where(SPENT.c.account == account, *within)
        .values(tokens=SPENT.c.tokens + tokens, money=SPENT.c.money + money)
    )
    return int(changed.rowcount)


def spent(connection: Connection, account: str) -> tuple[int, float]:
    """Return the tokens and the money that `account` has spent or reserved."""
    row = connection.execute(select(SPENT).where(SPENT.c.account == account)).one_or_none()
    return (row.tokens, row.money) if row else (0, 0.0)


def constant_sides(connection: Connection, request: JudgementRequested) -> list[str]:
    """Return the sides whose answer is the same text under many prompts of the evaluation."""
    found = []
    for side, answer in (("a", request.answer_a), ("b", request.answer_b)):
        form = constant_form(answer)
        prompts = select(func.count()).where(
            ANSWERS.c.evaluation == request.evaluation,
            ANSWERS.c.answer == literal(_hash(form or "")),
        )
        if form and connection.execute(prompts).scalar_one() >= CONSTANT_FROM:
            found.append(side)
    return found


def keep(connection: Connection, id: str, verdict: JudgementCompleted, now: float) -> Stored:
    """Keep a verdict unless there is one; return the row as it stands."""
    connection.execute(
        update(JUDGEMENTS)
        .where(_C.id == id, _C.verdict.is_(None))
        .values(verdict=verdict.model_dump_json(), judged=now)
    )
    return _stored(connection.execute(select(JUDGEMENTS).where(_C.id == id)).one())


def unannounced(connection: Connection, limit: int = 500) -> list[Stored]:
    """Return verdicts that no broker has acknowledged yet."""
    rows = connection.execute(
        select(JUDGEMENTS)
        .where(_C.verdict.is_not(None), _C.announced.is_(False))
        .order_by(_C.judged, _C.id)
        .limit(limit)
    ).all()
    return [_stored(row) for row in rows]


def mark_announced(connection: Connection, ids: Sequence[str]) -> None:
    """The broker has these verdicts."""
    connection.execute(update(JUDGEMENTS).where(_C.id.in_(ids)).values(announced=True))


def _stored(row: Row[tuple[object, ...]]) -> Stored:
    return Stored(
        row.id,
        JudgementRequested.model_validate_json(row.request),
        row.traceparent,
        JudgementCompleted.model_validate_json(row.verdict) if row.verdict else None,
        datetime.fromtimestamp(row.judged, UTC) if row.judged else None,
        row.arrived,
    )


def _answers(request: JudgementRequested) -> list[dict[str, str]]:
    forms = {constant_form(request.answer_a), constant_form(request.answer_b)} - {None}
    return [
        {
            "evaluation": request.evaluation,
            "answer": _hash(str(form)),
            "prompt": _hash(request.prompt),
        }
        for form in forms
    ]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
