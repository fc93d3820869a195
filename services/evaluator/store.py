"""All SQL of the evaluator: evaluations and their decisions, judgements, the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from imece.events import (
    Envelope,
    EvaluationPlan,
    Event,
    JudgementCompleted,
    ModelRef,
    PromotionDecided,
    derived_id,
    new,
)
from imece.runtime.database import insert_new, upsert
from imece.runtime.jobs import store as jobs
from imece.runtime.jobs.model import Job
from services.evaluator.core import Asked

SOURCE = "imece/evaluator"
METADATA = MetaData()
jobs.define(METADATA)
EVALUATIONS = Table(
    "evaluation",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("ref", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("baseline", Text),
    Column("traceparent", String(200)),
    # measuring → judging → decided → done; done at once without a decision or after a failure
    Column("state", String(12), nullable=False, index=True),
    Column("judge_deadline", Float),
    Column("judge_asked", Integer, nullable=False, default=0),
    Column("decision", Text),
    Column("decided_at", Float),
)
JUDGEMENTS = Table(
    "judgement",
    METADATA,
    Column("item", String(200), primary_key=True),
    Column("evaluation", String(200), nullable=False),
    Column("judgement", Text, nullable=False),
    Index("judgement_of_evaluation", "evaluation"),
)
CHAMPIONS = Table(
    "champion",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("ref", Text, nullable=False),
    Column("evaluation", String(36), nullable=False),
)
CHAMPION, PREVIOUS = "default", "previous"
_E = EVALUATIONS.c


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation; times are UTC epoch seconds."""

    id: str
    asked: Asked
    baseline: ModelRef | None
    traceparent: str | None
    state: str
    judge_deadline: float | None
    judge_asked: int
    decision: PromotionDecided | None
    decided_at: datetime | None

    def wrap(self, event: Event, part: str = "", at: datetime | None = None) -> Envelope[Event]:
        """Return the envelope of what this evaluation causes: the same id whenever it is told."""
        id = derived_id(self.id, event.topic.name, part)
        return Envelope(event, id, SOURCE, at or new(event, SOURCE, id).time, self.traceparent)


def add(
    connection: Connection, id: str, asked: Asked, baseline: ModelRef | None, trace: str | None
) -> Evaluation:
    """Keep an evaluation unless it is known; return the one that is stored."""
    row = {
        "id": id,
        "model": asked.model,
        "ref": asked.ref.model_dump_json(),
        "plan": asked.plan.model_dump_json(),
        "baseline": baseline.model_dump_json() if baseline else None,
        "traceparent": trace,
        "state": "measuring" if asked.plan.decide else "done",
        "judge_asked": 0,
    }
    insert_new(connection, EVALUATIONS, [row])
    return get(connection, id)


def get(connection: Connection, id: str) -> Evaluation:
    """Return a stored evaluation."""
    return _evaluation(connection.execute(select(EVALUATIONS).where(_E.id == id)).one())


def of_models(connection: Connection, models: Sequence[str]) -> list[Evaluation]:
    """Return the evaluations of models by name, in the order of their ids."""
    wanted = select(EVALUATIONS).where(_E.model.in_(models)).order_by(_E.id)
    return [_evaluation(row) for row in connection.execute(wanted)]


def unfinished(connection: Connection) -> list[tuple[Evaluation, Job | None]]:
    """Return the evaluations that the gate has still to do something about, with their jobs."""
    rows = connection.execute(select(EVALUATIONS).where(_E.state != "done").order_by(_E.id)).all()
    return [(_evaluation(row), jobs.get(connection, row.id)) for row in rows]


def start_judging(connection: Connection, id: str, asked: int, deadline: float) -> None:
    """Remember that `asked` judgements were requested, to wait for until `deadline`."""
    connection.execute(
        update(EVALUATIONS)
        .where(_E.id == id, _E.state == "measuring")
        .values(state="judging", judge_asked=asked, judge_deadline=deadline)
    )


def add_judgements(connection: Connection, judgements: Sequence[JudgementCompleted]) -> None:
    """Keep judgements of known evaluations; the first one of an item stands."""
    wanted = {judgement.evaluation for judgement in judgements}
    known = set(connection.execute(select(_E.id).where(_E.id.in_(wanted))).scalars())
    rows = [
        {"item": j.item, "evaluation": j.evaluation, "judgement": j.model_dump_json()}
        for j in judgements
        if j.evaluation in known
    ]
    insert_new(connection, JUDGEMENTS, rows)


def judgements(connection: Connection, evaluation: str) -> list[JudgementCompleted]:
    """Return the judgements of an evaluation that have come, in the order of their items."""
    rows = connection.execute(
        select(JUDGEMENTS.c.judgement)
        .where(JUDGEMENTS.c.evaluation == evaluation)
        .order_by(JUDGEMENTS.c.item)
    ).scalars()
    return [JudgementCompleted.model_validate_json(row) for row in rows]


def champion(connection: Connection, name: str = CHAMPION) -> ModelRef | None:
    """Return the champion, or the one before it; None before any promotion."""
    row = connection.execute(
        select(CHAMPIONS.c.ref).where(CHAMPIONS.c.name == name)
    ).scalar_one_or_none()
    return None if row is None else ModelRef.model_validate_json(row)


def decide(connection: Connection, id: str, decision: PromotionDecided, now: float) -> None:
    """Keep a decision and the champion that it makes, unless it was decided before."""
    changed = connection.execute(
        update(EVALUATIONS)
        .where(_E.id == id, _E.decision.is_(None))
        .values(state="decided", decision=decision.model_dump_json(), decided_at=now)
    ).rowcount
    if changed and (decision.verdict == "promote" or decision.rolled_back):
        before = champion(connection)
        if decision.rolled_back or before is None:
            connection.execute(delete(CHAMPIONS).where(CHAMPIONS.c.name == PREVIOUS))
        else:
            _crown(connection, PREVIOUS, before, id)
        _crown(connection, CHAMPION, decision.champion, id)


def _crown(connection: Connection, name: str, ref: ModelRef, evaluation: str) -> None:
    row: dict[str, Any] = {"name": name, "ref": ref.model_dump_json(), "evaluation": evaluation}
    upsert(connection, CHAMPIONS, [row], ["name"])


def finish(connection: Connection, id: str) -> None:
    """Nothing is left to do: the decision is published, or there is none to take."""
    connection.execute(update(EVALUATIONS).where(_E.id == id).values(state="done"))


def _evaluation(row: Any) -> Evaluation:
    ref = ModelRef.model_validate_json(row.ref)
    return Evaluation(
        row.id,
        Asked(row.model, ref, EvaluationPlan.model_validate_json(row.plan)),
        ModelRef.model_validate_json(row.baseline) if row.baseline else None,
        row.traceparent,
        row.state,
        row.judge_deadline,
        row.judge_asked,
        PromotionDecided.model_validate_json(row.decision) if row.decision else None,
        datetime.fromtimestamp(row.decided_at, UTC) if row.decided_at else None,
    )
