"""What a batch costs must not grow with what is stored: no statement reads a whole table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, event

from imece.events import Correction, Envelope, FeedbackSubmitted, RevocationRequested, Thumb
from services.feedback_guard import tables
from services.feedback_guard.replay import Guard
from tests.unit.feedback_guard.policies import small

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def feedback(number: int, hours: float = 0.0) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=f"user-{number}",
        response=f"r-{number}",
        prompt=f"Who runs canteen number {number // 3}?",
        answer="Mehmet Bey",
        signal=Correction(text="Zeynep Hanım") if number % 2 else Thumb(up=True),
        account_created=NOW - timedelta(days=400),
    )
    return Envelope(data, f"e{number}", "test", NOW + timedelta(hours=hours))


def test_no_statement_of_a_batch_reads_a_whole_table():
    guard = Guard(small(), asks=True)
    guard.submit([feedback(n) for n in range(40)])
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        many = rest[-1]
        seen.setdefault(statement, values[0] if many else values)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        guard.submit([feedback(n, hours=8) for n in range(30, 60)])
        guard.submit([feedback(n, hours=24 * 20) for n in range(60, 90)])
        guard.opinion(feedback(1), "user-40", right=True)
        guard.revoke(
            RevocationRequested(request="r", reason="takeover", by="operator", user="user-33")
        )
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    asked = {sql: values for sql, values in seen.items() if not sql.startswith("BEGIN")}
    assert len(asked) > 30
    plans = guard._database.transact(explained, asked)
    assert {sql: wide for sql, plan in plans.items() if (wide := [*filter(whole, plan)])} == {}


def explained(connection: Connection, asked: dict[str, Any]) -> dict[str, list[str]]:
    """Return how SQLite goes about each statement."""
    return {
        sql: [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
        for sql, values in asked.items()
    }


def whole(step: str) -> bool:
    """Tell whether a step reads all rows of a table; a bare SEARCH is a minimum without index."""
    how, _, rest = step.partition(" ")
    known = rest.split(" ")[0] in tables.METADATA.tables
    return known and (how == "SCAN" or (how == "SEARCH" and " USING " not in step))
