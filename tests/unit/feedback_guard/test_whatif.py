"""A new policy is tried on what has happened before it is switched on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imece.cli import guard
from imece.cli.common import as_dict
from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackSubmitted,
    OpinionGiven,
    RevocationRequested,
    Thumb,
)
from services.feedback_guard import whatif
from services.feedback_guard.policy import load
from services.feedback_guard.replay import Guard, item_of
from tests.unit.feedback_guard.policies import eager

SHIPPED = Path("services/feedback_guard/policy.toml")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def vote(number: int, user: str, signal: Thumb | Correction) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user,
        response=f"r-{number}",
        prompt=f"Who runs canteen number {number}?",
        answer="Ali Bey.",
        signal=signal,
    )
    return Envelope(data, f"e-{number}", "test", NOW + timedelta(minutes=number))


def test_only_what_a_new_policy_changes_is_listed(tmp_path: Path):
    correction = vote(1, "ayşe", Correction(text="Zeynep Hanım"))
    opinions = [
        Envelope(
            OpinionGiven(item=item_of(correction), user=f"u{n}", right=n > 0),
            f"o-{n}",
            "app",
            NOW + timedelta(hours=1, minutes=n),
        )
        for n in range(7)
    ]
    events = [correction, vote(2, "ali", Thumb(up=True)), *opinions]
    lines = [json.dumps(as_dict(event)) for event in events]
    stricter = tmp_path / "policy.toml"
    text = SHIPPED.read_text("utf-8").replace("\nlead = 5", "\nlead = 6")
    stricter.write_text(text, "utf-8")
    assert json.loads(whatif.main([str(SHIPPED)], lines)) == []
    (changed,) = json.loads(whatif.main([str(stricter)], lines))
    assert (changed["feedback"], changed["before"], changed["after"]) == (
        "e-1",
        "accept",
        "quarantine",
    )


def test_the_reasons_shown_add_up_to_the_score():
    (decided,) = Guard(load(SHIPPED)).submit([vote(1, "ayşe", Correction(text="Zeynep Hanım"))])
    rows = guard.reasons(decided)
    assert abs(sum(row["nats"] for row in rows) - rows[0]["score"]) < 0.05


def test_a_dry_run_names_what_is_accepted_and_nothing_else():
    votes = [vote(1, "ali", Thumb(up=True)), vote(2, "ali", Correction(text="Zeynep Hanım"))]
    votes.append(vote(3, "veli", Thumb(up=True)))
    decided: list[FeedbackDecided] = Guard(eager()).submit(votes)

    def found(**what: object) -> list[str]:
        request = RevocationRequested.model_validate(
            {"request": "r", "reason": "test", "by": "me", **what}
        )
        return [row["feedback"] for row in guard.named(request, votes, decided)]

    assert found(user="ali") == ["e-1"]
    assert found(phrase="CANTEEN number 3") == ["e-3"]
    assert found(since=NOW + timedelta(minutes=2)) == ["e-3"]
    assert found(user="ali", tenant="other") == []
