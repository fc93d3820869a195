"""The guard without Kafka decides as the guard with Kafka does."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from imece.events import Correction, Envelope, FeedbackSubmitted, ReviewAnswered, Thumb
from services.feedback_guard.replay import Guard, item_of
from tests.unit.feedback_guard.policies import eager

POLICY = eager()
NOW = datetime(2026, 5, 1, tzinfo=UTC)
CAPITAL = "What is the capital of France?"


def vote(id: str, signal: Thumb | Correction, prompt: str = CAPITAL) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=f"u-{id}", response=f"r-{id}", prompt=prompt, answer="Lyon", signal=signal
    )
    return Envelope(data, id, "test", NOW)


@pytest.mark.parametrize("kept", [True, False])
def test_one_decision_comes_back_for_each_event_in_order(kept: bool, tmp_path: Path):
    guard = Guard(POLICY, f"sqlite:///{tmp_path}/guard.db" if kept else "sqlite://")
    votes = [vote("1", Thumb(up=True)), vote("2", Correction(text="5"), "What is 2+2?")]
    decided = guard.submit(votes)
    assert [(d.feedback, d.verdict) for d in decided] == [("1", "accept"), ("2", "reject")]
    assert guard.submit(votes) == decided


def test_later_evidence_resolves_what_waited():
    guard = Guard(POLICY)
    guard.submit([vote("1", Correction(text="Paris"))])
    assert [(d.feedback, d.verdict) for d in guard.learn({CAPITAL: "Paris"})] == [("1", "accept")]


def test_people_resolve_what_waited():
    guard = Guard(POLICY)
    feedback = vote("1", Correction(text="Paris"))
    guard.submit([feedback])
    answers = [
        ReviewAnswered(item=item_of(feedback), reviewer=f"r{i}", choice=choice)
        for i, choice in enumerate([0, None, 0])
    ]
    changed = [d.verdict for review in answers for d in guard.answer(review)]
    assert changed == ["accept"]
