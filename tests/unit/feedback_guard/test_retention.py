"""What is too old is forgotten, a little at a time, and nothing younger is decided otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, func, select

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackSubmitted,
    RevocationRequested,
)
from services.feedback_guard import later, retention, tables
from services.feedback_guard.policy import Policy, Retention
from services.feedback_guard.replay import Guard
from tests.unit.feedback_guard.policies import SHIPPED
from tests.unit.feedback_guard.test_campaign import NOW

DAYS = 30
SHORT = SHIPPED.model_copy(update={"retention": Retention(days=DAYS)})


def stream(days: int) -> list[list[Envelope[FeedbackSubmitted]]]:
    """Three accounts send one text every day; a user repeats the vote of up to 8 days ago."""
    found = []
    for day in range(days):
        given = [
            FeedbackSubmitted(
                user=f"fan{n}",
                response=f"r-{day}-{n}",
                prompt=f"Who runs canteen number {day}?",
                answer="Ali Bey.",
                signal=Correction(text="Since last spring it has been Zeynep Hanım, my own boss."),
            )
            for n in range(3)
        ]
        sum = FeedbackSubmitted(
            user="ayşe",
            response=f"s-{day // 9}",
            prompt=f"What is {day // 9} * 7920?",
            answer="0",
            signal=Correction(text=f"{7920 * (day // 9)}"),
        )
        at = NOW + timedelta(days=day)
        found.append(
            [Envelope(data, f"{day}-{n}", "test", at) for n, data in enumerate([*given, sum])]
        )
    return found


def decided(policy: Policy, url: str, days: int = 70) -> list[FeedbackDecided]:
    guard = Guard(policy, url)
    return [d for batch in stream(days) for d in guard.submit(batch)]


def counted(url: str) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.DECISION, tables.HISTORY, tables.VOTE, tables.NEAR)
        }

    return tables.database(url).transact(count)


@pytest.fixture
def url(tmp_path: Path) -> Callable[[str], str]:
    return lambda name: f"sqlite:///{tmp_path}/{name}.db"


def test_decisions_are_the_same_however_long_the_rest_is_remembered(url) -> None:
    assert decided(SHORT, url("short")) == decided(SHIPPED, url("long"))


def test_what_is_kept_is_bounded(url) -> None:
    sizes = []
    for days in (45, 72):
        decided(SHORT, url(str(days)), days)
        sizes.append(counted(url(str(days))))
    assert sizes[0] == sizes[1]
    assert sizes[1]["decision"] == 4 * (DAYS + 1)


def test_a_batch_forgets_no_more_than_so_many_rows(url, monkeypatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    guard, days = Guard(SHORT, url("g")), stream(DAYS + 10)
    for batch in days[:5]:
        guard.submit(batch)
    before = counted(url("g"))["decision"]
    guard.submit(days[-1])
    assert counted(url("g"))["decision"] == before + len(days[-1]) - 2


def test_what_is_forgotten_can_be_taken_back_no_more(url) -> None:
    guard, days = Guard(SHORT, url("g")), stream(DAYS + 20)
    for batch in days:
        guard.submit(batch)
    request = RevocationRequested(request="r", reason="sold", by="ops", user="fan0")
    gone = {d.feedback for d in guard.revoke(request)}
    assert gone == {e.id for batch in days[-DAYS - 1 :] for e in batch if e.data.user == "fan0"}


def test_a_repeated_vote_leaves_the_one_that_stands(url) -> None:
    """The decision about a repetition may be older than that about the vote itself."""
    guard, (first, second) = Guard(SHORT, url("g")), stream(2)
    late = Envelope(second[-1].data, "late", "test", first[-1].time - timedelta(days=1))
    assert [d.verdict for d in guard.submit([first[-1], late])][1] == "reject"
    now: datetime = late.time + timedelta(days=DAYS, hours=12)
    tables.database(url("g")).transact(later.expire, now, SHORT)
    assert counted(url("g"))["decision"] == counted(url("g"))["vote"] == 1


def test_feedback_older_than_what_is_remembered_is_rejected_as_such(url) -> None:
    guard, days = Guard(SHORT, url("g")), stream(DAYS + 3)
    guard.submit(days[-1])
    for _ in range(2):
        found = guard.submit([days[1][-1], days[5][-1]])
        assert (found[0].verdict, found[0].reasons[0].code) == ("reject", "too_old")
        assert found[1].verdict == "accept"


def test_a_clock_that_runs_ahead_makes_nobody_too_old(url) -> None:
    guard, (first, ahead) = Guard(SHORT, url("g")), stream(2)
    today = datetime.now(UTC)
    wrong = [Envelope(e.data, e.id, e.source, today + timedelta(days=9999)) for e in ahead]
    guard.submit(wrong)
    found = guard.submit([Envelope(e.data, e.id, e.source, today) for e in first])
    assert "too_old" not in {reason.code for d in found for reason in d.reasons}


def test_a_policy_cannot_forget_what_still_counts() -> None:
    data = SHIPPED.model_dump() | {"retention": {"days": 29}}
    with pytest.raises(ValidationError, match="at least 30"):
        Policy.model_validate(data)
