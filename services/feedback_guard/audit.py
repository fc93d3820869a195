"""How much poison is accepted after all: people check a random share of what is trained on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from imece.events import FeedbackDecided
from imece.runtime.database import insert_new
from services.feedback_guard import bounds, rows, tables
from services.feedback_guard.policy import Policy

_TABLE = tables.AUDIT
_WINDOW = 30 * 86_400


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


def drawn(feedback: str, decided: FeedbackDecided, policy: Policy) -> bool:
    """Tell whether people check this decision: of rows accepted at first sight a fixed share.

    Rows that waited were judged by somebody already.
    """
    if decided.verdict != "accept" or decided.row is None or decided.version != 1:
        return False
    return zlib.crc32(feedback.encode()) < policy.audit.share * 2**32


def book(
    connection: Connection, feedback: str, right: bool, at: datetime, policy: Policy
) -> Estimate | None:
    """Book what a person says about an answer; None unless it was drawn. The first word counts."""
    found = rows.decisions(connection, [feedback]).get(feedback)
    if found is None or not drawn(feedback, found.decided, policy):
        return None
    wrong = right != (found.scored.stance > 0)
    row = {"feedback": feedback, "wrong": int(wrong), "at": at.timestamp()}
    insert_new(connection, _TABLE, [row])
    return estimate(connection, at)


def estimate(connection: Connection, now: datetime) -> Estimate:
    """Return what people found in the 30 days before `now`."""
    sums = select(func.count(), func.coalesce(func.sum(_TABLE.c.wrong), 0))
    seen = sums.where(_TABLE.c.at > now.timestamp() - _WINDOW)
    checked, wrong = connection.execute(seen).one()
    return Estimate(checked, wrong)
