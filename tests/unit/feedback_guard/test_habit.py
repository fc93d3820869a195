"""An account that starts to behave like another one's is seen, and its new rows are taken back."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imece.events import Correction, Envelope, FeedbackSubmitted, Thumb
from services.feedback_guard.policy import load
from services.feedback_guard.replay import Guard

POLICY = load(Path("services/feedback_guard/policy.toml"))
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def votes(seed: int, taken_at: int | None, count: int = 80) -> list[Envelope[FeedbackSubmitted]]:
    """Return a user's votes of a month; from `taken_at` on somebody else gives them."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        other = taken_at is not None and number >= taken_at
        day = NOW + timedelta(days=number // 3)
        hour = dice.gauss(4 if other else 18, 2)
        wordy = dice.random() < (0.9 if other else 0.1)
        text = "a long text about many other things " * dice.randint(3, 6) if other else "Paris"
        data = FeedbackSubmitted(
            user="ayşe",
            response=f"r-{number}",
            prompt=f"Who runs canteen number {number}?",
            answer="Ali Bey.",
            signal=Correction(text=text) if wordy else Thumb(up=True),
            device="desk" if other else "phone",
        )
        made.append(Envelope(data, f"e-{number}", "test", day + timedelta(hours=hour % 24)))
    return made


def test_the_rows_since_a_takeover_are_taken_back_after_a_few():
    guard, taken_at = Guard(POLICY), 50
    stream = votes(1, taken_at)
    seen = None
    for event in stream:
        guard.submit([event])
        if seen is None and any(d.reasons[-1].detail == "takeover" for d in guard.changed):
            seen = int(event.id[2:])
    assert seen is not None
    assert seen - taken_at <= 5
    gone = {int(d.feedback[2:]) for d in guard.changed if d.reasons[-1].detail == "takeover"}
    assert gone
    assert min(gone) >= taken_at - 1


def test_an_owner_who_goes_on_as_before_is_left_alone():
    for seed in range(5):
        guard = Guard(POLICY)
        guard.submit(votes(seed, None))
        assert not any(d.reasons[-1].detail == "takeover" for d in guard.changed)


def test_a_redelivered_takeover_is_told_in_the_same_words():
    stream = votes(1, 50)
    guard, again = Guard(POLICY), Guard(POLICY)
    guard.submit(stream)
    again.submit(stream[:60])
    again.submit(stream)
    told = [(d.feedback, d.version, d.verdict) for d in guard.changed]
    assert len(told) == len(set(told)), "what is delivered once is told once"
    assert set(told) == {(d.feedback, d.version, d.verdict) for d in again.changed}
