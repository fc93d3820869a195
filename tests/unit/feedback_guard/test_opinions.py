"""Second opinions: users chosen at random decide what votes alone never may."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    OpinionGiven,
    OpinionRequested,
    Thumb,
    encode,
    new,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from services.feedback_guard import seats
from services.feedback_guard.replay import Guard
from services.feedback_guard.routes import Routes
from tests.unit.feedback_guard.policies import SHIPPED, small

POLICY = small()
NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEYS = {"k1": b"a secret of sixteen bytes"}
CANTEEN = "Who runs our canteen?"


def vote(
    user: str, signal: Thumb | Correction, prompt: str = CANTEEN, days: int = 400
) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user,
        response=f"r-{user}-{len(prompt)}",
        prompt=prompt,
        answer="Ali Bey.",
        signal=signal,
        account_created=NOW - timedelta(days=days),
    )
    return Envelope(data, f"e-{user}-{prompt}", "test", NOW)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [("yyyyy", "accept"), ("nyyyyyy", "accept"), ("yyyy", "quarantine"), ("ynyynyn", "quarantine")],
)
def test_users_asked_carry_a_correction_once_five_more_agree(words: str, verdict: str):
    guard, correction = Guard(POLICY), vote("ayşe", Correction(text="Zeynep Hanım"))
    (decided,) = guard.submit([correction])
    for number, word in enumerate(words):
        for changed in guard.opinion(correction, f"u{number}", right=word == "y"):
            decided = changed
    assert decided.verdict == verdict


def test_praise_waits_for_four_users_more_and_then_everybodys_praise_counts():
    guard, first = Guard(POLICY), vote("ali", Thumb(up=True))
    (waiting,) = guard.submit([first])
    assert "unconfirmed_praise" in {reason.code for reason in waiting.reasons}
    found = [d.verdict for n in range(4) for d in guard.opinion(first, f"u{n}", right=True)]
    assert found == ["accept"]
    (second,) = guard.submit([vote("veli", Thumb(up=True))])
    assert second.verdict == "accept"


def test_who_voted_is_not_heard_again_and_nobody_is_heard_twice():
    guard, correction = Guard(POLICY), vote("ayşe", Correction(text="Zeynep Hanım"))
    friends = [vote(f"fan{n}", Correction(text="Zeynep Hanım")) for n in range(9)]
    guard.submit([correction, *friends])
    for number in range(9):
        assert guard.opinion(correction, f"fan{number}", right=True) == []
        assert guard.opinion(correction, "one", right=True) == []


def test_an_answer_that_people_confirmed_keeps_praise_of_another_out():
    guard, correction = Guard(POLICY), vote("ayşe", Correction(text="Zeynep Hanım"))
    guard.submit([correction])
    for number in range(7):
        guard.opinion(correction, f"u{number}", right=True)
    (praise,) = guard.submit([vote("ali", Thumb(up=True))])
    assert praise.verdict == "quarantine"
    assert "rival_confirmed" in {reason.code for reason in praise.reasons}


class World:
    """The routes with everything they published."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.out: list[Envelope[Any]] = []
        self.routes = Routes(database, Artifacts(folder.as_uri()), self.publish, POLICY, KEYS)

    async def publish(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            encode(envelope)
        self.out += envelopes

    async def send(self, *events: Envelope[FeedbackSubmitted]) -> None:
        await self.routes.on_submitted(events)
        await self.routes.on_scored([e for e in self.out if isinstance(e.data, FeedbackScored)])

    def of(self, kind: type[Any]) -> list[Any]:
        return [e.data for e in self.out if isinstance(e.data, kind)]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def crowd(size: int = 20) -> list[Envelope[FeedbackSubmitted]]:
    """Votes that seat so many older users, and twenty whose accounts are new."""
    old = [vote(f"u{n}", Thumb(up=True), f"What is {n} + 1?") for n in range(size)]
    return old + [vote(f"new{n}", Thumb(up=True), f"What is {n} + 2?", days=1) for n in range(20)]


async def test_invited_users_decide_and_others_are_not_heard(world: World):
    await world.send(*crowd())
    world.out.clear()
    await world.send(vote("ayşe", Correction(text="Zeynep Hanım")))
    (request,) = world.of(OpinionRequested)
    assert len(request.invited) == 5
    assert {i.user for i in request.invited} <= {f"u{n}" for n in range(20)}

    async def say(user: str, token: str | None, right: bool = True) -> None:
        opinion = OpinionGiven(item=request.item, user=user, right=right, token=token)
        await world.routes.on_opinion(Envelope(opinion, f"o-{user}", "app", NOW))

    world.out.clear()
    for number in range(20):
        await say(f"u{number}", None)
        await say(f"stranger{number}", request.invited[0].token)
    assert world.out == []
    first, *others = request.invited
    await say(first.user, first.token, right=False)
    for invitation in others:
        await say(invitation.user, invitation.token)
    (more,) = world.of(OpinionRequested)
    assert more.item == request.item
    assert len(more.invited) == 2
    assert not {i.user for i in more.invited} & {i.user for i in request.invited}
    await say(others[0].user, others[0].token)  # delivered again, it asks the same again
    assert world.of(OpinionRequested) == [more, more]
    for invitation in more.invited:
        await say(invitation.user, invitation.token)
    (decided,) = world.of(FeedbackDecided)
    assert (decided.verdict, decided.version) == ("accept", 2)


async def test_silent_users_are_replaced_after_ever_more_hours(world: World):
    await world.send(*crowd(60))
    world.out.clear()
    await world.send(vote("ayşe", Correction(text="Zeynep Hanım")))
    asked = {i.user for r in world.of(OpinionRequested) for i in r.invited}
    for hours, expected in ((5, 0), (7, 5), (12, 0), (14, 5), (30, 5), (44, 0), (46, 5)):
        world.out.clear()
        later = vote("zeki", Thumb(up=False), f"Who knows {hours}?")
        await world.send(replace(later, time=NOW + timedelta(hours=hours)))
        found = [
            i.user for r in world.of(OpinionRequested) for i in r.invited if r.prompt == CANTEEN
        ]
        assert len(found) == expected
        assert not set(found) & asked
        asked |= set(found)


async def test_who_voted_on_the_claim_is_not_invited(world: World):
    others = [vote(f"u{n}", Thumb(up=True), f"What is {n} + 1?") for n in range(7)]
    voters = [vote(f"v{n}", Thumb(up=True)) for n in range(5)]
    await world.send(*others, *voters, vote("ayşe", Correction(text="Zeynep Hanım")))
    requests = [r for r in world.of(OpinionRequested) if r.prompt == CANTEEN]
    assert len(requests) == 2
    assert {i.user for r in requests for i in r.invited} <= {f"u{n}" for n in range(7)}


async def test_among_few_active_users_nobody_is_asked(world: World):
    world.routes._policy = SHIPPED
    await world.send(*crowd(), vote("ayşe", Correction(text="Zeynep Hanım")))
    assert world.of(OpinionRequested) == []


async def test_a_days_cards_bound_how_many_are_asked_and_contradictions_go_first(world: World):
    cards = POLICY.panel.model_copy(update={"cards_per_day": 10})
    world.routes._policy = POLICY.model_copy(update={"panel": cards})
    await world.send(
        *(replace(e, data=e.data.model_copy(update={"signal": Thumb(up=False)})) for e in crowd())
    )
    praises = [vote("ali", Thumb(up=True), f"Who runs house {n}?") for n in range(3)]
    await world.send(*praises)
    assert len(world.of(OpinionRequested)) == 1
    await world.send(vote("ayşe", Correction(text="Zeynep Hanım")))
    assert [len(r.invited) for r in world.of(OpinionRequested)][-1] == 5


async def test_one_account_cannot_use_up_the_days_cards(world: World):
    cards = POLICY.panel.model_copy(update={"cards_per_day": 100})
    world.routes._policy = POLICY.model_copy(update={"panel": cards})
    await world.send(
        *(replace(e, data=e.data.model_copy(update={"signal": Thumb(up=False)})) for e in crowd())
    )
    lies = [Correction(text=f"Name {n}") for n in range(30)]
    await world.send(
        *(vote("eve", lie, f"Who runs house {'x' * n}?") for n, lie in enumerate(lies))
    )
    most = POLICY.panel.most
    assert sum(len(r.invited) for r in world.of(OpinionRequested)) == most - most % 5
    await world.send(vote("ayşe", Correction(text="Zeynep Hanım")))
    assert world.of(OpinionRequested)[-1].prompt == CANTEEN


def test_nobody_confirms_what_an_answer_hides():
    guard, correction = Guard(POLICY), vote("ayşe", Correction(text="Zeynep Hanım \U000e0041"))
    guard.submit([correction])
    for number in range(5):
        assert guard.opinion(correction, f"u{number}", right=True) == []


def test_seats_are_drawn_by_lot_and_not_kept_by_who_is_busy(database: Database):
    rivals = [f"u{n}" for n in range(9000) if zlib.crc32(f"u{n}".encode()) % 512 == 7]
    votes = [vote(user, Thumb(up=True)) for user in rivals]
    holders = set()
    for order in (votes, votes[::-1], votes[3:]):
        database.transact(seats.take, order, POLICY, b"key")
        holders |= set(database.transact(seats.active, {"default"})["default"])
    assert len(holders) == 1
    later = [replace(e, time=e.time + timedelta(days=7 * week)) for week in range(9) for e in votes]
    held = set()
    for event in later:
        database.transact(seats.take, [event], POLICY, b"key")
        held |= set(database.transact(seats.active, {"default"})["default"])
    assert len(held) > 3


async def test_without_enough_active_users_nobody_is_asked(world: World):
    await world.send(vote("ayşe", Correction(text="Zeynep Hanım")))
    assert world.of(OpinionRequested) == []
    late = OpinionGiven(item="feedback:unknown", user="u", right=True)
    await world.routes.on_opinion(new(late, "app"))
