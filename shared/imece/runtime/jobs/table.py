"""The job table, and a row of it as a value."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text

from imece.events import Failure, Progress
from imece.runtime.jobs.model import Job

JOB = Table(
    "job",
    MetaData(),
    Column("id", String(200), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("request", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("timeout_seconds", Integer, nullable=False),
    Column("traceparent", String(200)),
    Column("state", String(20), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("announced", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("owner", String(200)),
    Column("lease_until", Float, nullable=False),
    Column("next_attempt_at", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("spent_seconds", Float, nullable=False),
    Column("progress", Text),
    Column("result", Text),
    Column("failure", Text),
    Column("submitted_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("changed_by", String(200), nullable=False),
)


def define(metadata: MetaData) -> Table:
    """Add the job table to a service's tables."""
    return JOB.to_metadata(metadata)


def job_of(row: Any) -> Job:
    """Return a row, as a mapping of its columns, as a job."""
    values = {name: value for name, value in row.items() if name != "changed_by"}
    for name in ("request", "result"):
        values[name] = None if values[name] is None else json.loads(values[name])
    progress, failure = values.pop("progress"), values.pop("failure")
    job = Job(**values, progress=None, failure=None)
    return replace(
        job,
        progress=Progress.model_validate_json(progress) if progress else None,
        failure=Failure.model_validate_json(failure) if failure else None,
    )
