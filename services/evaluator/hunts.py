"""SQL of leave-out hunts: which decisions are looked into, and what came back without a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, String, Table, Text, select, update

from imece.runtime.database import insert_new
from imece.runtime.jobs import store as jobs
from imece.runtime.jobs.model import Job
from services.evaluator import store
from services.evaluator.store import METADATA, Evaluation

HUNTS = Table(
    "hunt",
    METADATA,
    Column("evaluation", String(36), primary_key=True),
    Column("models", Text, nullable=False),
    Column("began_at", Float, nullable=False),
    Column("state", String(12), nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Hunt:
    """One decision looked into; `jobs` are the evaluations that have come, by shard."""

    evaluation: Evaluation
    job: Job
    shards: tuple[int, ...]
    jobs: Mapping[int, Job]
    began_at: float


def begin(connection: Connection, id: str, models: Mapping[int, str], now: float) -> None:
    """Look into a decision, once: `models` are the adapters without each shard."""
    row = {"evaluation": id, "models": json.dumps(models), "began_at": now, "state": "open"}
    insert_new(connection, HUNTS, [row])


def unfinished(connection: Connection) -> list[Hunt]:
    """Return the hunts that nothing was concluded from."""
    rows = connection.execute(
        select(HUNTS).where(HUNTS.c.state == "open").order_by(HUNTS.c.evaluation)
    ).all()
    return [_hunt(connection, row) for row in rows]


def finish(connection: Connection, id: str) -> None:
    """Remember that what was found is published."""
    connection.execute(update(HUNTS).where(HUNTS.c.evaluation == id).values(state="done"))


def _hunt(connection: Connection, row: Any) -> Hunt:
    models = {name: int(shard) for shard, name in json.loads(row.models).items()}
    job = jobs.get(connection, row.evaluation)
    assert job is not None
    found = {}
    for each in store.of_models(connection, tuple(models)):
        if each.asked.plan.probes_of != row.evaluation:
            continue
        asked = jobs.get(connection, each.id)
        if asked is not None:
            found[models[each.asked.model]] = asked
    evaluation = store.get(connection, row.evaluation)
    return Hunt(evaluation, job, tuple(sorted(models.values())), found, row.began_at)
