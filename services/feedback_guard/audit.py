"""How much poison is accepted, and how much honest feedback rejected: people check a share."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Gauge
from sqlalchemy import Connection, func, select

from imece.events import FeedbackDecided, FeedbackScored
from imece.runtime.database import insert_new
from services.feedback_guard import bounds, rows, segments, tables
from services.feedback_guard.policy import Policy
from services.feedback_guard.rows import Decision

_TABLE = tables.AUDIT
_WINDOW = 30 * 86_400
_UPPER = Gauge(
    "imece_feedback_false_rejection_upper",
    "Most that honest feedback of the worst segment is rejected, 95 % sure for all of them",
    ["segment"],
)


@dataclass(frozen=True)
class Estimate:
    """What the audit of the last 30 days says."""

    checked: int
    wrong: int

    @property
    def rate(self) -> float:
        """The share of checked rows that people found wrong."""
        return self.wrong / self.checked if self.checked else 0.0

    @property
    def upper(self) -> float:
        """The share of all rows that is wrong at most, with 95 % confidence; 1 before any check."""
        return bounds.upper(self.wrong, self.checked) if self.checked else 1.0


def in_sample(feedback: str, policy: Policy) -> bool:
    """Tell whether this feedback, by its key, is of the fixed share that people check."""
    return zlib.crc32(feedback.encode()) < policy.audit.share * 2**32


def drawn(feedback: str, scored: FeedbackScored, decided: FeedbackDecided, policy: Policy) -> bool:
    """Tell whether people check this: a row accepted, or feedback rejected, at first sight.

    What waited was judged by somebody already, and rejection by rule (rates, tokens) says nothing
    about the answer.
    """
    checked = decided.row is not None or (decided.verdict == "reject" and scored.hard is None)
    return checked and decided.version == 1 and in_sample(feedback, policy)


def book(
    connection: Connection, feedback: str, right: bool, at: datetime, policy: Policy
) -> Estimate | None:
    """Book what a person says about an answer that was drawn; the first word counts.

    Returns the estimate of the poison when it was an accepted row.
    """
    found = rows.decisions(connection, [feedback]).get(feedback)
    if found is None or found.scored.hard is not None or not in_sample(feedback, policy):
        return None
    wrong = right != (found.scored.stance > 0)
    if not wrong:
        _remember_honest(connection, feedback, found, at, policy)
    if found.decided.row is None or found.decided.version != 1:
        return None
    row = {"feedback": feedback, "wrong": int(wrong), "at": at.timestamp()}
    insert_new(connection, _TABLE, [row])
    return estimate(connection, at)


def _remember_honest(
    connection: Connection, feedback: str, found: Decision, at: datetime, policy: Policy
) -> None:
    """Keep what became of honest feedback; tell the bound of the segment that fares worst."""
    table = tables.HONEST
    row = {
        "feedback": feedback,
        "segments": " ".join(segments.of(found.scored, policy)),
        "suspicion": segments.suspicion(found.decided),
        "rejected": int(found.decided.verdict == "reject"),
        "at": at.timestamp(),
    }
    insert_new(connection, table, [row])
    lately = select(table).where(table.c.at > at.timestamp() - _WINDOW)
    known = [
        segments.Honest(tuple(row.segments.split()), row.suspicion, bool(row.rejected))
        for row in connection.execute(lately)
    ]
    worst = segments.worst(segments.table(known, policy.audit.false_rejections))
    _UPPER.clear()
    if worst is not None:
        _UPPER.labels(worst["segment"]).set(worst["upper"])


def estimate(connection: Connection, now: datetime) -> Estimate:
    """Return what people found in the 30 days before `now`."""
    sums = select(func.count(), func.coalesce(func.sum(_TABLE.c.wrong), 0))
    seen = sums.where(_TABLE.c.at > now.timestamp() - _WINDOW)
    checked, wrong = connection.execute(seen).one()
    return Estimate(checked, wrong)
