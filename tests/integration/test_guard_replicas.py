"""Two guards decide at the same time over one database, and lose nothing of each other's."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from imece.events import Correction, Envelope, FeedbackDecided, FeedbackSubmitted
from services.feedback_guard import state, tables
from services.feedback_guard.replay import Guard
from tests.integration.postgres import fresh, postgresql  # noqa: F401 - a fixture
from tests.unit.feedback_guard.policies import SHIPPED

START = datetime(2026, 5, 4, tzinfo=UTC)
BUSY, QUIET, EACH, BATCH = 12, 12, 30, 24
Url = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Url:
    """Return what makes an empty database and tells its URL."""
    if request.param == "postgresql":
        server: str = request.getfixturevalue("postgresql")
        return lambda: fresh(server)
    names = iter(range(9))
    return lambda: f"sqlite:///{tmp_path}/guard-{next(names)}.db"


def corrections() -> list[Envelope[FeedbackSubmitted]]:
    """Busy users send more right sums than an author's budget holds, quiet ones fewer.

    All at one time, so that no bucket leaks and every sum is exact whatever the order.
    """
    users = [f"busy-{n}" for n in range(BUSY)] * EACH + [f"quiet-{n}" for n in range(QUIET)] * 6
    return [
        Envelope(
            FeedbackSubmitted(
                user=user,
                response=f"r-{number}",
                prompt=f"What is {number} + {number * 7919}?",
                answer="I am not sure.",
                signal=Correction(text=f"{number * 7920}"),
                account_created=START - timedelta(days=200),
            ),
            f"e-{number}",
            "test",
            START,
        )
        for number, user in enumerate(users, 1)
    ]


def replica(url: str, numbers: Sequence[int], barrier: Barrier, found: Any) -> None:
    """Decide a share of the feedback as one process of several."""
    guard, events = Guard(SHIPPED, url), corrections()
    guard.submit([])
    barrier.wait(300)
    for start in range(0, len(numbers), BATCH):
        batch = [events[number] for number in numbers[start : start + BATCH]]
        found.put([d.model_dump_json() for d in guard.submit(batch)])


def together(url: str) -> list[FeedbackDecided]:
    """Let two processes decide every other feedback each."""
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(2), context.Queue()
    all = len(corrections())
    shares = [range(0, all, 2), range(1, all, 2)]
    running = [
        context.Process(target=replica, args=(url, share, barrier, found)) for share in shares
    ]
    for process in running:
        process.start()
    batches = [found.get(timeout=300) for s in shares for _ in range(0, len(s), BATCH)]
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0, 0]
    return [FeedbackDecided.model_validate_json(text) for batch in batches for text in batch]


def remembered(connection: Connection) -> tuple[dict[str, Any], ...]:
    """Return records, budgets, claims and versions; habits alone depend on the order."""
    accounts = {
        row.id: (known.right, known.wrong, known.subjects)
        for row in connection.execute(select(tables.ACCOUNT))
        for known in [state.unpack_account(row.state)]
    }
    ledger = {row.key: round(row.level, 6) for row in connection.execute(select(tables.LEDGER))}
    claims = {row.id: row.answers for row in connection.execute(select(tables.CLAIM))}
    versions = {row.feedback: row.version for row in connection.execute(select(tables.DECISION))}
    return accounts, ledger, claims, versions


def test_two_guards_at_once_remember_what_one_would(url: Url) -> None:
    alone, shared = url(), url()
    one, two = Guard(SHIPPED, alone).submit(corrections()), together(shared)
    kept = [tables.database(at).transact(remembered) for at in (alone, shared)]
    assert kept[0] == kept[1]
    rows = [Counter(d.user for d in decided if d.row is not None) for decided in (one, two)]
    assert rows[0] == rows[1]
    assert set(rows[1].values()) == {SHIPPED.budgets.per_author, 6}
    quiet = [
        {d.feedback: (d.verdict, d.row) for d in found if d.user.startswith("quiet")}
        for found in (one, two)
    ]
    assert quiet[0] == quiet[1]
