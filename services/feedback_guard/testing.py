"""Tests answers that wait, one after the other, beside the batches; each result is an event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Row, select, update

from imece.errors import UnavailableError
from imece.events import AnswerVerified, Envelope, FeedbackScored
from imece.runtime.app import Publish
from imece.runtime.database import Database, insert_new, matching
from services.feedback_guard import announce, tables, unit_tests
from services.feedback_guard.evidence import taught
from services.feedback_guard.sandbox import Sandbox
from services.feedback_guard.state import mark
from services.feedback_guard.unit_tests import Test

log = structlog.get_logger()
_TABLE = tables.TESTED
_AT_ONCE = 20
_POLL = 1.0
_TESTED = Counter("imece_feedback_tested", "Answers whose code was run", ["outcome"])


@dataclass(frozen=True)
class Waiting:
    """Feedback that waits, and the key of its answer."""

    feedback: str
    scored: FeedbackScored

    @property
    def key(self) -> str:
        return f"{self.scored.claim}|{mark(self.scored.answer)}"


class Checker:
    """Runs the operator's tests on answers in doubt; nothing waits for it."""

    def __init__(
        self,
        database: Database,
        publish: Publish,
        tests: Mapping[str, Test],
        sandbox: Sandbox,
    ) -> None:
        """`tests` are by claim; the sandbox is tried when this is entered."""
        self._database, self._publish = database, publish
        self._tests, self._sandbox = tests, sandbox

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._sandbox.check)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Test what waits until `stop`."""
        while not stop.is_set():
            done = 0
            try:
                done = await self.step()
            except UnavailableError as error:
                log.warning("tests.postponed", error=str(error))
            if not done:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _POLL)

    async def step(self) -> int:
        """Test a few answers that wait and tell the results; returns how many feedback it saw."""
        waiting, known = await self._database.run(_waiting, list(self._tests))
        for each in waiting:
            if each.key not in known:
                known[each.key] = await self._tested(each.scored)
            right = known[each.key]
            await self._database.run(_keep, each, right)
        if results := await self._database.run(_untold):
            await self._publish(*map(_event, results))
            await self._database.run(_told, [row.feedback for row in results])
        return len(waiting)

    async def _tested(self, scored: FeedbackScored) -> bool | None:
        test, answer = self._tests[scored.claim], taught(scored.feedback)
        right = await asyncio.to_thread(unit_tests.judge, answer, test, self._sandbox.run)
        _TESTED.labels({True: "right", False: "wrong", None: "unknown"}[right]).inc()
        return right


def _waiting(
    connection: Connection, claims: Sequence[str]
) -> tuple[list[Waiting], dict[str, bool | None]]:
    """Return the oldest feedback that waits untested, and what is known of its answers."""
    table = tables.DECISION
    query = (
        select(table.c.feedback, table.c.scored)
        .outerjoin(_TABLE, _TABLE.c.feedback == table.c.feedback)
        .where(table.c.claim.in_(claims), table.c.expires.is_not(None))
        .where(_TABLE.c.feedback.is_(None))
        .order_by(table.c.at, table.c.feedback)
        .limit(_AT_ONCE)
    )
    found = [
        Waiting(row.feedback, FeedbackScored.model_validate_json(row.scored))
        for row in connection.execute(query)
    ]
    rows = matching(connection, _TABLE.c.key, {each.key for each in found})
    return found, {row.key: _truth(row.right) for row in rows}


def _keep(connection: Connection, each: Waiting, right: bool | None) -> None:
    """Keep a result; one that says nothing has nothing to tell."""
    row = {
        "feedback": each.feedback,
        "key": each.key,
        "answer": each.scored.answer,
        "right": None if right is None else int(right),
        "told": int(right is None),
    }
    insert_new(connection, _TABLE, [row])


def _untold(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(_TABLE).where(_TABLE.c.told == 0)).all()


def _told(connection: Connection, feedback: Sequence[str]) -> None:
    connection.execute(update(_TABLE).where(_TABLE.c.feedback.in_(feedback)).values(told=1))


def _truth(stored: int | None) -> bool | None:
    return None if stored is None else bool(stored)


def _event(row: Row[Any]) -> Envelope[AnswerVerified]:
    claim = row.key.partition("|")[0]
    said = AnswerVerified(claim=claim, answer=row.answer, right=bool(row.right))
    return announce.verified(said, row.key)
