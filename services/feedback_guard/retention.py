"""What is older than the policy keeps is forgotten, a little with every batch."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection, Delete, Table, bindparam, delete, select

from imece.events import FeedbackScored
from services.feedback_guard import store, tables
from services.feedback_guard.policy import Policy

AT_ONCE = 500
"""Rows that one batch forgets at most, of most tables: no fewer than it can bring."""
_BUCKETS_AT_ONCE = 5_000
_DAY = 86_400
_EMPTY_DAYS = 120
_TIMED = (
    tables.NEAR,
    tables.CLUSTER,
    tables.FLAG,
    tables.AUDIT,
    tables.HONEST,
    tables.REFUSED,
)


def forget(connection: Connection, now: datetime, policy: Policy) -> None:
    """Forget what happened too long before `now`, oldest first.

    A decision goes with its history and its vote. Budgets are forgotten when nobody has filled
    them for so long that they are empty.
    """
    oldest = now.timestamp() - policy.retention.days * _DAY
    _forget_decisions(connection, oldest)
    for table in _TIMED:
        connection.execute(_oldest(table, AT_ONCE), {"oldest": oldest})
    empty = now.timestamp() - _EMPTY_DAYS * _DAY
    connection.execute(_oldest(tables.LEDGER, _BUCKETS_AT_ONCE), {"oldest": empty})


def _forget_decisions(connection: Connection, oldest: float) -> None:
    table = tables.DECISION
    old = select(table.c.feedback, table.c.scored).where(table.c.at < oldest)
    found = connection.execute(old.order_by(table.c.at, table.c.feedback).limit(AT_ONCE)).all()
    if not found:
        return
    keys = [row.feedback for row in found]
    given = [FeedbackScored.model_validate_json(row.scored).feedback for row in found]
    votes = [store.vote_key(feedback) for feedback in given]
    mine = tables.VOTE.c.feedback.in_(keys)  # a second vote's decision leaves the first vote
    connection.execute(delete(tables.VOTE).where(tables.VOTE.c.key.in_(votes), mine))
    for kept in (tables.HISTORY, tables.TESTED, table):
        connection.execute(delete(kept).where(kept.c.feedback.in_(keys)))


@lru_cache(maxsize=16)
def _oldest(table: Table, limit: int) -> Delete:
    (key,) = table.primary_key.columns
    old = select(key).where(table.c.at < bindparam("oldest")).order_by(table.c.at).limit(limit)
    return delete(table).where(key.in_(old))
