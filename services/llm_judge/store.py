"""All SQL of the judge: requests, who works on them, and their verdicts (the first one stands)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    MetaData,
    String,
    Table,
    Text,
    select,
    update,
)
from sqlalchemy.engine import Row

from imece.events import Envelope, JudgementCompleted, JudgementRequested, derived_id
from imece.runtime.database import insert_new

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
_C = JUDGEMENTS.c


@dataclass(frozen=True, slots=True)
class Stored:
    """One request, with its verdict once there is one."""

    id: str
    request: JudgementRequested
    traceparent: str | None
    verdict: JudgementCompleted | None
    judged: datetime | None


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
    )
