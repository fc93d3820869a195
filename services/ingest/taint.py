"""SQL about adapters: which data set versions they learned, which of those rows were taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, select, update

from imece.runtime.database import insert_new
from services.ingest import tables
from services.ingest.tables import ADAPTERS, ROWS, VERSIONS


def add(connection: Connection, adapters: Sequence[Mapping[str, Any]]) -> None:
    """Remember which data set versions adapters were trained on; check them against revocations."""
    insert_new(
        connection, ADAPTERS, [{"revoked": 0, "announced": False, **row} for row in adapters]
    )
    check(connection)


def waiting(connection: Connection) -> list[tables.Tainted]:
    """Return the adapters whose taint is not announced yet."""
    due = and_(ADAPTERS.c.revoked > 0, ADAPTERS.c.announced.is_(False))
    c = ADAPTERS.c
    found = connection.execute(
        select(c.digest, c.model, c.datasets, c.revoked).where(due).order_by(c.digest)
    )
    return [tables.Tainted(*row) for row in found]


def announced(connection: Connection, digest: str) -> None:
    """Mark an adapter's taint as announced; it is announced once."""
    connection.execute(update(ADAPTERS).where(ADAPTERS.c.digest == digest).values(announced=True))


def check(connection: Connection) -> None:
    """Count, for adapters not tainted so far, the rows they learned that were taken out since."""
    for adapter in connection.execute(select(ADAPTERS).where(ADAPTERS.c.revoked == 0)).all():
        lost = sum(
            len(_gone(connection, ref["dataset"], ref["version"])) for ref in adapter.datasets
        )
        if lost:
            connection.execute(
                update(ADAPTERS).where(ADAPTERS.c.digest == adapter.digest).values(revoked=lost)
            )


def _gone(connection: Connection, dataset: str, number: int) -> set[str]:
    dead = connection.execute(
        select(ROWS.c.row_id).where(
            ROWS.c.dataset == dataset, ROWS.c.version <= number, ROWS.c.live.is_(False)
        )
    ).scalars()
    return set(dead) - set(left_out(connection, dataset, number))


def left_out(connection: Connection, dataset: str, number: int) -> list[str]:
    """Return the rows that a version leaves out; none when there is no such version."""
    summary = connection.execute(
        select(VERSIONS.c.summary).where(
            VERSIONS.c.dataset == dataset, VERSIONS.c.version == number
        )
    ).scalar()
    return list(summary["revoked"]) if summary else []
