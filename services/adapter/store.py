"""All SQL of the adapter: its jobs' table and the studies of its sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, Connection, MetaData, String, Table, select, update

from imece.runtime.database import insert_new
from imece.runtime.jobs import Job
from imece.runtime.jobs.table import JOB, define, job_of

METADATA = MetaData()
define(METADATA)
STUDY = Table(
    "study",
    METADATA,
    Column("id", String(200), primary_key=True),
    Column("request", JSON, nullable=False),
    Column("traceparent", String(200)),
    Column("state", String(20), nullable=False, index=True),
)


@dataclass(frozen=True)
class Stored:
    """A study that is not over; its trials are jobs."""

    id: str
    request: Mapping[str, Any]
    traceparent: str | None


def begin(
    connection: Connection, id: str, request: Mapping[str, Any], traceparent: str | None
) -> None:
    """Remember a study; the first write of an id wins."""
    row = {"id": id, "request": dict(request), "traceparent": traceparent, "state": "open"}
    insert_new(connection, STUDY, [row])


def open_studies(connection: Connection) -> list[Stored]:
    """Return the studies that are not over, oldest first."""
    columns = STUDY.c.id, STUDY.c.request, STUDY.c.traceparent
    found = connection.execute(select(*columns).where(STUDY.c.state == "open").order_by(STUDY.c.id))
    return [Stored(*row) for row in found]


def end(connection: Connection, id: str, state: str) -> bool:
    """Close an open study; False when there is none of that id."""
    statement = update(STUDY).where(STUDY.c.id == id, STUDY.c.state == "open")
    return connection.execute(statement.values(state=state)).rowcount > 0


def trials(connection: Connection, study: str) -> list[Job]:
    """Return the jobs of a study in the order of their numbers."""
    of_it = JOB.c.id.startswith(f"{study}.", autoescape=True)
    found = connection.execute(select(JOB).where(of_it).order_by(JOB.c.id)).mappings()
    return [job_of(row) for row in found]
