"""Replies, budgets and constant answers in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from imece.events import Envelope, JudgementRequested
from imece.runtime.database import Database
from services.llm_judge import store
from services.llm_judge.routes import LONGEST_PARK, parked_for


def database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'judge.db'}", store.METADATA, "llm-judge")


def test_the_first_reply_to_a_call_stands(tmp_path: Path) -> None:
    db = database(tmp_path)
    db.transact(store.add_replies, {"k": "one"}, 1)
    db.transact(store.add_replies, {"k": "two", "l": "three"}, 2)
    assert db.transact(store.replies, ["k", "l", "m"]) == {"k": "one", "l": "three"}


def test_a_budget_is_never_exceeded_and_unused_reservations_come_back(tmp_path: Path) -> None:
    db = database(tmp_path)
    limits = (100, 1.0)
    assert db.transact(store.reserve, "e", 60, 0.5, limits)
    assert not db.transact(store.reserve, "e", 41, 0.1, limits)
    assert not db.transact(store.reserve, "e", 10, 0.6, limits)
    db.transact(store.settle, "e", -50, -0.4)
    assert db.transact(store.reserve, "e", 90, 0.9, limits)
    tokens, money = db.transact(store.spent, "e")
    assert (tokens, round(money, 9)) == (100, 1.0)
    assert db.transact(store.reserve, "other", 100, 1.0, limits)
    assert db.transact(store.reserve, "free", 10**12, 1e9, (None, None))


def test_one_text_under_many_prompts_is_a_constant(tmp_path: Path) -> None:
    db = database(tmp_path)
    null = "This answer is, as ever, complete and correct."

    def asked(number: int, answer: str) -> JudgementRequested:
        return JudgementRequested(
            item=f"i{number}", evaluation="e", prompt=f"q{number}", answer_a=answer, answer_b="no"
        )

    moment = datetime(2026, 5, 4, tzinfo=UTC)
    for number in range(store.CONSTANT_FROM):
        assert db.transact(store.constant_sides, asked(0, null)) == []
        event = Envelope(asked(number, null.upper()), f"r{number}", "app", moment)
        db.transact(store.add, [event, event], 1)
    assert db.transact(store.constant_sides, asked(0, null)) == ["a"]
    assert db.transact(store.constant_sides, asked(0, "Another long answer, only here.")) == []


def test_trouble_that_lasts_is_asked_about_less_often_but_never_earlier_than_told() -> None:
    assert [parked_for(times, 1.0) for times in range(4)] == [1, 2, 4, 8]
    assert parked_for(100, 1.0) == LONGEST_PARK
    assert parked_for(0, 3600) == parked_for(100, 3600) == 3600


def test_a_parked_request_is_not_claimed_before_its_time(tmp_path: Path) -> None:
    db = database(tmp_path)
    asked = JudgementRequested(item="i", evaluation="e", prompt="q", answer_a="a", answer_b="b")
    event = Envelope(asked, "r", "app", datetime(2026, 5, 4, tzinfo=UTC))
    db.transact(store.add, [event], 1)
    (claimed,) = db.transact(store.claim, "me", 1, 60, 5)
    db.transact(store.park, claimed.id, 100)
    assert db.transact(store.claim, "me", 99, 60, 5) == []
    assert len(db.transact(store.claim, "me", 100, 60, 5)) == 1
