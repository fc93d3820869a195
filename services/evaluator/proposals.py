"""SQL of promotions that wait: the proposal, its deadline, and what people and canary said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Boolean, Column, Connection, Float, String, Table, Text, select, update

from imece.events import CanaryReported, PromotionApproved, PromotionProposed
from imece.runtime.database import insert_new, upsert
from services.evaluator import approval, canary
from services.evaluator.approval import Word, person
from services.evaluator.evidence import Evidence
from services.evaluator.store import EVALUATIONS, METADATA

PROPOSALS = Table(
    "proposal",
    METADATA,
    Column("evaluation", String(36), primary_key=True),
    Column("evidence", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("proposed_at", Float, nullable=False),
)
WORDS = Table(
    "approval",
    METADATA,
    Column("evaluation", String(36), primary_key=True),
    # A person may approve and deny later; the denial counts.
    Column("person", String(200), primary_key=True),
    Column("approved", Boolean, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("note", Text, nullable=False),
)
CANARIES = Table(
    "canary",
    METADATA,
    Column("evaluation", String(36), primary_key=True),
    Column("report", Text, nullable=False),
)
Answer = Literal["taken", "late", "unknown", "early", "own", "stranger", "shrunk"]
_E = EVALUATIONS.c


@dataclass(frozen=True, slots=True)
class Proposal:
    """A promotion that waits."""

    evidence: Evidence
    event: PromotionProposed
    at: datetime
    words: tuple[Word, ...]
    report: canary.Report | None = None

    def settled(self) -> bool:
        """Tell whether there is nothing to wait for any more; one failure is enough."""
        event, live = self.event, self.evidence.policy.canary
        found = [approval.check(self.words, event.people, event.requested_by).outcome]
        if event.canary is not None and live is not None:
            found.append(canary.check(self.report, live).outcome)
        return "failed" in found or "inconclusive" not in found


def propose(
    connection: Connection, id: str, evidence: Evidence, event: PromotionProposed, now: float
) -> None:
    """Let an evaluation wait for people, unless it waits or is decided."""
    changed = connection.execute(
        update(EVALUATIONS)
        .where(_E.id == id, _E.state == "judging", _E.decision.is_(None))
        .values(state="proposed")
    ).rowcount
    if changed:
        row = {
            "evaluation": id,
            "evidence": evidence.model_dump_json(),
            "event": event.model_dump_json(),
            "proposed_at": now,
        }
        insert_new(connection, PROPOSALS, [row])


def told(connection: Connection, id: str) -> None:
    """Remember that the proposal is published."""
    connection.execute(
        update(EVALUATIONS).where(_E.id == id, _E.state == "proposed").values(state="approving")
    )


def get(connection: Connection, id: str) -> Proposal:
    """Return the proposal of an evaluation that waits, with the words in a fixed order."""
    row = connection.execute(select(PROPOSALS).where(PROPOSALS.c.evaluation == id)).one()
    words = connection.execute(
        select(WORDS.c.name, WORDS.c.approved, WORDS.c.note)
        .where(WORDS.c.evaluation == id)
        .order_by(WORDS.c.person, WORDS.c.approved)
    )
    return Proposal(
        Evidence.model_validate_json(row.evidence),
        PromotionProposed.model_validate_json(row.event),
        datetime.fromtimestamp(row.proposed_at, UTC),
        tuple(Word(by=each.name, approved=each.approved, note=each.note) for each in words),
        _report(connection, id),
    )


def answer(connection: Connection, said: PromotionApproved) -> Answer:
    """Keep a person's word once; say why it does not count."""
    row, why = _asked(connection, said.evaluation)
    if row is None:
        return why
    asked = PromotionProposed.model_validate_json(row.event).requested_by
    if said.approved and asked is not None and person(asked) == person(said.by):
        return "own"
    if row.decision is not None:
        return "late"
    word = {
        "evaluation": said.evaluation,
        "person": person(said.by),
        "approved": said.approved,
        "name": said.by,
        "note": said.note,
    }
    insert_new(connection, WORDS, [word])
    return "taken"


def report(connection: Connection, said: CanaryReported) -> Answer:
    """Keep what a canary counted, unless it is older than what is kept or that is enough."""
    row, why = _asked(connection, said.evaluation)
    if row is None:
        return why
    live = Evidence.model_validate_json(row.evidence).policy.canary
    if live is None or live.service != said.by:
        return "stranger"
    if row.decision is not None:
        return "late"
    fresh = canary.Report(by=said.by, wins=said.wins, losses=said.losses)
    kept = _report(connection, said.evaluation)
    if kept is not None:
        # The first report that settles it stands, so the moment of looking changes nothing.
        if fresh.pairs <= kept.pairs or canary.check(kept, live).outcome != "inconclusive":
            return "late"
        if fresh.wins < kept.wins or fresh.losses < kept.losses:
            return "shrunk"
    values = {"evaluation": said.evaluation, "report": fresh.model_dump_json()}
    upsert(connection, CANARIES, [values], ["evaluation"])
    return "taken"


def _asked(connection: Connection, evaluation: str) -> tuple[Any, Answer]:
    """Return the row of an evaluation with its proposal; None and why if there is none."""
    row = connection.execute(
        select(_E.decision, PROPOSALS.c.event, PROPOSALS.c.evidence)
        .select_from(EVALUATIONS.outerjoin(PROPOSALS, PROPOSALS.c.evaluation == _E.id))
        .where(_E.id == evaluation)
    ).one_or_none()
    if row is None:
        return None, "unknown"
    if row.event is None:
        return None, "late" if row.decision is not None else "early"
    return row, "taken"


def _report(connection: Connection, evaluation: str) -> canary.Report | None:
    kept = connection.execute(
        select(CANARIES.c.report).where(CANARIES.c.evaluation == evaluation)
    ).scalar_one_or_none()
    return None if kept is None else canary.Report.model_validate_json(kept)
