"""The guard decides the same on PostgreSQL as on SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackSubmitted,
    OpinionGiven,
    Rating,
    RevocationRequested,
    Thumb,
)
from services.feedback_guard.replay import Guard
from tests.integration.postgres import postgresql  # noqa: F401 - a fixture
from tests.unit.feedback_guard.policies import SHIPPED

START = datetime(2026, 5, 4, tzinfo=UTC)
TAKE_BACK = RevocationRequested(request="r", reason="sold", by="ops", user="kullanıcı-3")
QUESTIONS = [f"Who leads the {name} team?" for name in ("blue", "red", "green", "çay")]


def crowd() -> list[Envelope[FeedbackSubmitted]]:
    """Eighty users: praise, ratings, corrections that people must judge, and sums."""
    events = []
    for number in range(160):
        user, at = f"kullanıcı-{number % 80}", START + timedelta(seconds=20 * number)
        question, answer = QUESTIONS[number % len(QUESTIONS)], "It is Ali."
        signal: Thumb | Rating | Correction = Thumb(up=True)
        if number % 5 == 1:
            signal = Correction(text="It is Zeynep.")
        elif number % 5 == 2:
            signal = Rating(stars=5)
        elif number % 5 == 3:
            question, answer = f"What is {number} + 2?", "I am not sure."
            signal = Correction(text=f"The answer is {number + 2 + number % 2}.")
        data = FeedbackSubmitted(
            user=user,
            response=f"r-{number}",
            prompt=question,
            answer=answer,
            signal=signal,
            account_created=START - timedelta(days=200),
        )
        events.append(Envelope(data, f"e-{number}", "test", at))
    return events


def play(url: str) -> list[FeedbackDecided]:
    """Send everything in batches, let all who are asked answer, then take one user back."""
    guard, found = Guard(SHIPPED, url, asks=True), []
    events = crowd()
    for start in range(0, len(events), 16):
        found += guard.submit(events[start : start + 16])
        now = events[start].time + timedelta(minutes=10)
        while guard.asked:
            asked = guard.asked.pop(0)
            for each in asked.invited:
                given = OpinionGiven(item=asked.item, user=each.user, right="Ali" in asked.answer)
                found += guard.opinion_on(given, now)
    found += guard.revoke(TAKE_BACK)
    return found + guard.changed


def test_postgresql_and_sqlite_hold_the_same_decisions(postgresql: str, tmp_path: Path) -> None:  # noqa: F811
    one, other = play(f"sqlite:///{tmp_path}/guard.db"), play(postgresql)
    assert one == other
    assert {"accept", "quarantine", "reject"} <= {decision.verdict for decision in one}
    assert any(decision.verdict == "accept" and decision.version > 1 for decision in one)
