"""SQL of the circuit breaker: which decisions were breaches, and who cleared them."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Connection, String, Table, Text, select

from imece.events import BreakerCleared, PromotionDecided
from imece.runtime.database import insert_new
from imece.runtime.families import unversioned
from services.evaluator import breaker
from services.evaluator.breaker import Breach
from services.evaluator.store import EVALUATIONS, METADATA

CLEARED = Table(
    "cleared",
    METADATA,
    Column("evaluation", String(36), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("note", Text, nullable=False),
)
_E = EVALUATIONS.c


def breaches(connection: Connection, model: str, since: float) -> tuple[Breach, ...]:
    """Return the breaches of a model, in any version, from `since` (UTC epoch seconds) on.

    Cleared ones are among them.
    """
    rows = connection.execute(
        select(_E.id, _E.model, _E.decision, _E.decided_at, CLEARED.c.name)
        .select_from(EVALUATIONS.outerjoin(CLEARED, CLEARED.c.evaluation == _E.id))
        .where(_of(model), _E.decision.is_not(None), _E.decided_at >= since)
        .order_by(_E.decided_at, _E.id)
    )
    found = []
    for row in rows:
        if unversioned(row.model) != unversioned(model):
            continue
        why = breaker.why(PromotionDecided.model_validate_json(row.decision))
        if why:
            at, by = row.decided_at, row.name or ""
            found.append(Breach(evaluation=row.id, why=why, at=at, cleared_by=by))
    return tuple(found)


def clear(connection: Connection, said: BreakerCleared) -> list[str]:
    """Keep who cleared which of the model's decisions; the first word about one stands.

    Returns the decisions that are known, whether or not they were cleared before.
    """
    known = connection.execute(
        select(_E.id, _E.model)
        .where(_E.id.in_(said.evaluations), _of(said.model), _E.decision.is_not(None))
        .order_by(_E.id)
    )
    ids = [row.id for row in known if unversioned(row.model) == unversioned(said.model)]
    rows = [{"evaluation": id, "name": said.by, "note": said.note} for id in ids]
    insert_new(connection, CLEARED, rows)
    return ids


def _of(model: str) -> ColumnElement[bool]:
    """Narrow rows to names that begin like the model's; its versions are among them."""
    return _E.model.startswith(unversioned(model), autoescape=True)
