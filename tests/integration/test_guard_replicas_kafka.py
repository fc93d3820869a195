"""Two guards share the feedback; each is killed with -9 while it flows, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from imece.client import Client
from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Thumb,
    new,
)
from services.feedback_guard import tables
from tests.integration.conftest import LocalKafka
from tests.integration.herd import (
    Herd,
    everything,
    send,
    until_committed,
    until_members,
    until_topics,
)
from tests.integration.postgres import fresh, postgresql  # noqa: F401 - a fixture
from tests.unit.feedback_guard.policies import SHIPPED

pytestmark = pytest.mark.kafka
USERS, EVENTS, SEED, AT_ONCE = 20, 900, 20261124, 30
REPLICAS = ("one", "two")


def _events() -> list[Envelope[FeedbackSubmitted]]:
    """Sums that users corrected, more than a budget holds; every third event repeats a claim."""
    old = datetime.now(UTC) - timedelta(days=200)
    found = []
    for number in range(1, EVENTS + 1):
        same = number % 3 == 0
        sum = number % 50 if same else number * 7919
        found.append(
            FeedbackSubmitted(
                user=f"user-{number % USERS}",
                response=f"answer-{number}",
                prompt=f"What is {sum} + 1?",
                answer=f"The answer is {sum + 1}." if same else "I am not sure.",
                signal=Thumb(up=True) if same else Correction(text=str(sum + 1)),
                account_created=old,
            )
        )
    random.Random(SEED).shuffle(found)
    return [new(event, "chaos") for event in found]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of the database that both guards share."""
    if request.param == "postgresql":
        return fresh(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path}/feedback-guard.db"


async def _publish(client: Client, herd: Herd, events: list[Envelope[FeedbackSubmitted]]) -> None:
    """Send all of it; a third in, and two thirds in, one guard is killed and started again."""
    third = EVENTS // 3
    for at in range(0, EVENTS, AT_ONCE):
        await send(client, *events[at : at + AT_ONCE])
        await asyncio.sleep(0.2)
        if at and at % third == 0:
            name = REPLICAS[at // third - 1]
            herd.kill(name)
            herd.start("feedback_guard", name)


async def test_two_guards_lose_and_double_nothing_when_killed(
    fresh_kafka: LocalKafka, tmp_path: Path, database: str
) -> None:
    kafka, events = fresh_kafka.address, _events()
    herd = Herd(tmp_path, kafka, IMECE_DATABASE=database)
    for name in REPLICAS:
        herd.start("feedback_guard", name)
    try:
        await until_topics(kafka, FeedbackSubmitted)
        await until_members(kafka, "feedback-guard", 2)
        async with Client(kafka, "chaos") as client:
            await _publish(client, herd, events)
        await until_committed(kafka, "feedback-guard", FeedbackSubmitted)
        await until_committed(kafka, "feedback-guard", FeedbackScored)
        herd.stop()
        announced = [e.data for e in await everything(kafka, FeedbackDecided)]
    finally:
        herd.end()
    stored = tables.database(database).transact(_stored)
    told: dict[str, list[FeedbackDecided]] = defaultdict(list)
    for decided in sorted(announced, key=lambda d: d.version):
        told[decided.feedback].append(decided)
    assert sorted(told) == sorted(e.id for e in events), "a feedback without decision"
    for id, versions in told.items():
        assert [d.version for d in versions] == list(range(1, len(versions) + 1))
        assert versions == stored[id], "the topic and the tables tell different histories"
    _no_budget_is_exceeded([versions[-1] for versions in told.values()])


def _stored(connection: Connection) -> dict[str, list[FeedbackDecided]]:
    """Return every feedback's versions as the tables hold them, oldest first."""
    held = [*connection.execute(select(tables.HISTORY.c.version, tables.HISTORY.c.decided))]
    held += connection.execute(select(tables.DECISION.c.version, tables.DECISION.c.decided))
    found: dict[str, list[FeedbackDecided]] = defaultdict(list)
    for _, text in sorted(held, key=lambda row: row.version):
        decided = FeedbackDecided.model_validate_json(text)
        found[decided.feedback].append(decided)
    return found


def _no_budget_is_exceeded(newest: list[FeedbackDecided]) -> None:
    """All came within minutes, so no bucket has leaked a whole row."""
    rows = [d for d in newest if d.row is not None]
    authors, claims = Counter(d.user for d in rows), Counter(d.claim for d in rows)
    assert max(authors.values()) == SHIPPED.budgets.per_author
    assert max(claims.values()) <= SHIPPED.budgets.per_claim_answer
    assert any("budget_author" in {r.code for r in d.reasons} for d in newest)
