"""Decisions that change later: the end of quarantine, revocations, crashes in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackRevoked,
    FeedbackScored,
    FeedbackSubmitted,
    RevocationRequested,
    Thumb,
    encode,
    new,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from services.feedback_guard import tables
from services.feedback_guard.replay import Guard
from services.feedback_guard.routes import Routes
from tests.unit.feedback_guard.policies import eager

POLICY = eager()
NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CANTEEN = "Who runs our canteen?"


def vote(
    number: int,
    user: str,
    signal: Thumb | Correction,
    prompt: str = CANTEEN,
    at: datetime = NOW,
) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user, response=f"r-{number}", prompt=prompt, answer="Ali Bey.", signal=signal
    )
    return Envelope(data, f"e-{number}", "test", at)


def request(**what: Any) -> RevocationRequested:
    return RevocationRequested(request="rq-1", reason="test", by="operator", **what)


def praise(number: int, user: str, at: datetime = NOW) -> Envelope[FeedbackSubmitted]:
    return vote(number, user, Thumb(up=True), f"Who runs canteen number {number}?", at)


def confirmed(guard: Guard) -> Envelope[FeedbackSubmitted]:
    """Return a correction that seven users have confirmed."""
    correction = vote(1, "ayşe", Correction(text="Zeynep Hanım"))
    guard.submit([correction])
    for number in range(7):
        guard.opinion(correction, f"u{number}", right=True)
    return correction


def test_what_waits_too_long_stays_out_for_good():
    guard, correction = Guard(POLICY), vote(1, "ayşe", Correction(text="Zeynep Hanım"))
    guard.submit([correction])
    guard.submit([praise(2, "u", NOW + 13 * DAY)])
    assert guard.changed == []
    guard.submit([praise(3, "u", NOW + 15 * DAY)])
    (ended,) = guard.changed
    assert (ended.verdict, ended.version, ended.reasons[-1].code) == ("quarantine", 2, "expired")
    guard.submit([praise(4, "u", NOW + 16 * DAY)])
    assert len(guard.changed) == 1
    assert [a for n in range(7) for a in guard.opinion(correction, f"u{n}", right=True)] == []


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ({"user": "ali"}, {"e-1", "e-2"}),
        ({"user": "ali", "since": NOW + DAY}, {"e-2"}),
        ({"since": NOW, "until": NOW}, {"e-1"}),
        ({"phrase": "CANTEEN number 3"}, {"e-3"}),
        ({"user": "nobody"}, set()),
        ({"user": "ali", "tenant": "other"}, set()),
    ],
)
def test_a_revocation_takes_back_what_it_names(what: dict[str, Any], gone: set[str]):
    guard = Guard(POLICY)
    votes = [praise(1, "ali"), praise(2, "ali", NOW + 2 * DAY), praise(3, "veli", NOW + 3 * DAY)]
    assert {d.verdict for d in guard.submit(votes)} == {"accept"}
    changed = guard.revoke(request(**what))
    assert {d.feedback for d in changed} == gone
    assert {(d.verdict, d.version, d.row) for d in changed} <= {("reject", 2, None)}
    assert guard.revoke(request(**what)) == []


def test_what_rested_on_a_revoked_voice_falls_with_it():
    guard = Guard(POLICY)
    confirmed(guard)
    friend = vote(2, "ali", Correction(text="Zeynep Hanım"))
    assert [d.verdict for d in guard.submit([friend])] == ["accept"]
    for number in range(3):  # three of the seven had feedback on the claim of their own
        guard.submit([vote(10 + number, f"u{number}", Thumb(up=False))])
        changed = guard.revoke(request(user=f"u{number}"))
    fallen = {d.feedback: (d.verdict, d.reasons[-1].code) for d in changed}
    assert fallen["e-2"] == ("quarantine", "claim_changed")


def test_a_request_that_names_nothing_is_no_request():
    with pytest.raises(ValidationError, match="name a user"):
        request()


class World:
    """The routes with everything they published."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.out: list[Envelope[Any]] = []
        self.routes = Routes(database, Artifacts(folder.as_uri()), self.publish, POLICY)

    async def publish(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            encode(envelope)
        self.out += envelopes

    async def send(self, *events: Envelope[FeedbackSubmitted]) -> None:
        await self.routes.on_submitted(events)
        scored = [e for e in self.out if isinstance(e.data, FeedbackScored)]
        self.out.clear()
        await self.routes.on_scored(scored)

    def take(self) -> list[tuple[str, Any]]:
        found = [(e.id, e.data) for e in self.out]
        self.out.clear()
        return found


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


async def test_a_revocation_is_announced_again_when_it_is_delivered_again(world: World):
    waiting = vote(4, "ali", Correction(text="Zeynep Hanım"))
    await world.send(praise(1, "ali"), praise(2, "ali"), praise(3, "veli"), waiting)
    world.take()
    event = new(request(user="ali"), "imece/cli")
    await world.routes.on_revocation(event)
    first = world.take()
    await world.routes.on_revocation(event)
    assert world.take() == first
    revoked = [d.feedback for _, d in first if isinstance(d, FeedbackRevoked)]
    decided = [d.feedback for _, d in first if isinstance(d, FeedbackDecided)]
    assert (sorted(revoked), sorted(decided)) == (["e-1", "e-2"], ["e-1", "e-2", "e-4"])


async def test_old_versions_of_a_decision_are_kept(world: World):
    await world.send(praise(1, "ali"))
    await world.routes.on_revocation(new(request(user="ali"), "imece/cli"))
    history = await world.database.run(lambda c: c.execute(select(tables.HISTORY)).all())
    assert [(row.version, json.loads(row.decided)["verdict"]) for row in history] == [(1, "accept")]


async def test_the_end_of_a_quarantine_is_announced_again_after_a_crash(world: World):
    await world.send(vote(1, "ayşe", Correction(text="Zeynep Hanım")))
    world.take()
    late = praise(2, "u", NOW + 15 * DAY)
    await world.send(late)
    first = world.take()
    await world.send(late)
    assert world.take() == first
    assert [d.version for _, d in first if isinstance(d, FeedbackDecided)] == [1, 2]


async def test_a_time_in_the_future_ends_no_quarantine(world: World):
    await world.send(vote(1, "ayşe", Correction(text="Zeynep"), at=datetime.now(UTC)))
    world.take()
    await world.send(praise(2, "u", datetime.now(UTC) + 400 * DAY))
    assert [d.version for _, d in world.take() if isinstance(d, FeedbackDecided)] == [1]
