"""The append-only log of the queue: all that happened, each entry chained to the one before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from imece.chain import GENESIS, Entry, linked
from imece.runtime.database import insert_new
from services.review.tables import ENTRY, HEAD


def append(connection: Connection, now: float, kind: str, **body: Any) -> None:
    """Write one entry in the caller's transaction; call it after all other locks are taken."""
    number, previous = head(connection, lock=True)
    at = datetime.fromtimestamp(now, UTC).isoformat()
    entry = linked(number + 1, at, kind, body, previous)
    connection.execute(
        ENTRY.insert().values(
            number=entry.number,
            at=at,
            kind=kind,
            body=json.dumps(body, sort_keys=True, ensure_ascii=False),
            previous=previous,
            hash=entry.hash,
        )
    )
    connection.execute(update(HEAD).values(number=entry.number, hash=entry.hash))


def head(connection: Connection, *, lock: bool = False) -> tuple[int, str]:
    """Return how many entries there are and the hash of the last one."""
    query = select(HEAD.c.number, HEAD.c.hash)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        insert_new(connection, HEAD, [{"one": 1, "number": 0, "hash": GENESIS}])
        row = connection.execute(query.with_for_update()).one()
    return row.number, row.hash


def entries(connection: Connection, after: int = 0, limit: int = 10_000) -> Iterator[Entry]:
    """Return entries in order, from the one with the number `after` + 1."""
    query = select(ENTRY).where(ENTRY.c.number > after).order_by(ENTRY.c.number).limit(limit)
    for row in connection.execute(query):
        yield Entry(row.number, row.at, row.kind, json.loads(row.body), row.previous, row.hash)
