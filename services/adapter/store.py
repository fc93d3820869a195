"""All SQL of the adapter: its jobs' table, studies of sweeps, newest data sets, taints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    select,
    update,
)

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

VERSION = Table(
    "newest_version",
    METADATA,
    Column("dataset", String(200), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("ref", JSON, nullable=False),
)
TAINT = Table(
    "taint",
    METADATA,
    Column("digest", String(200), primary_key=True),
    Column("event", JSON, nullable=False),
    Column("traceparent", String(200)),
    Column("waiting", Boolean, nullable=False),
)


@dataclass(frozen=True)
class Stored:
    """A study that is not over; its trials are jobs."""

    id: str
    request: Mapping[str, Any]
    traceparent: str | None


@dataclass(frozen=True)
class Taint:
    """An adapter that waits for data sets without the rows that were taken out."""

    event: Mapping[str, Any]
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


def is_open(connection: Connection, id: str) -> bool:
    """Tell whether a study is not over."""
    statement = select(STUDY.c.id).where(STUDY.c.id == id, STUDY.c.state == "open")
    return connection.execute(statement).first() is not None


def end(connection: Connection, id: str, state: str) -> bool:
    """Close an open study; False when there is none of that id."""
    statement = update(STUDY).where(STUDY.c.id == id, STUDY.c.state == "open")
    return connection.execute(statement.values(state=state)).rowcount > 0


def trials(connection: Connection, study: str) -> list[Job]:
    """Return the jobs of a study in the order of their numbers."""
    of_it = JOB.c.id.startswith(f"{study}.", autoescape=True)
    found = connection.execute(select(JOB).where(of_it).order_by(JOB.c.id)).mappings()
    return [job_of(row) for row in found]


def keep_version(
    connection: Connection, dataset: str, version: int, ref: Mapping[str, Any]
) -> None:
    """Remember the newest version of a data set; versions may come in any order."""
    row = {"dataset": dataset, "version": version, "ref": dict(ref)}
    insert_new(connection, VERSION, [row])
    newer = update(VERSION).where(VERSION.c.dataset == dataset, VERSION.c.version < version)
    connection.execute(newer.values(version=version, ref=dict(ref)))


def versions(connection: Connection, datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the references of the newest known versions by data set."""
    found = select(VERSION.c.dataset, VERSION.c.ref).where(VERSION.c.dataset.in_(datasets))
    return {dataset: ref for dataset, ref in connection.execute(found)}


def keep_taint(
    connection: Connection, digest: str, event: Mapping[str, Any], traceparent: str | None
) -> None:
    """Remember a tainted adapter; the first write of a digest wins."""
    row = {"digest": digest, "event": dict(event), "traceparent": traceparent, "waiting": True}
    insert_new(connection, TAINT, [row])


def taints(connection: Connection) -> list[Taint]:
    """Return the taints that wait."""
    found = select(TAINT.c.event, TAINT.c.traceparent).where(TAINT.c.waiting)
    return [Taint(*row) for row in connection.execute(found.order_by(TAINT.c.digest))]


def drop_taint(connection: Connection, digest: str) -> None:
    """Wait no longer for a taint; the same one does not come back."""
    connection.execute(update(TAINT).where(TAINT.c.digest == digest).values(waiting=False))


def maker(connection: Connection, digest: str) -> Job | None:
    """Return the job that made an adapter, None when none of this service did."""
    found = connection.execute(select(JOB).where(JOB.c.result.contains(digest))).mappings()
    made = [job_of(row) for row in found]
    return next((job for job in made if (job.result or {}).get("digest") == digest), None)
