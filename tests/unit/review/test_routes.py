"""What comes from Kafka and what goes there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from imece.errors import UnavailableError
from imece.events import AuditRecorded, Envelope, ReviewAnswered
from services.review import ledger, people, routes
from services.review.people import Reviewer
from services.review.routes import Reviews
from tests.unit.review.world import World, asked, made

CAN = Reviewer("can", False)


class Kafka:
    """Takes events, or is away."""

    def __init__(self) -> None:
        self.events: list[Envelope[Any]] = []
        self.away = False

    async def __call__(self, *events: Envelope[Any]) -> None:
        if self.away:
            raise UnavailableError("away")
        self.events += events

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event.data, kind)]


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    found = made(tmp_path)
    async with found.database:
        yield found


async def test_a_request_is_asked_and_its_answer_told_once(world, monkeypatch):
    kafka = Kafka()
    reviews = Reviews(world.database, kafka, world.policy, poll_seconds=1)
    await reviews.on_requests([asked("1"), asked("1")])
    world.database.transact(people.add, CAN.name, False, world.now)
    world.answer(CAN, world.next(CAN), "second")
    monkeypatch.setattr(routes.time, "time", lambda: world.now + 31)
    await reviews.announce()
    await reviews.announce()
    (told,) = kafka.of(ReviewAnswered)
    assert (told.data.item, told.data.choice, told.source) == ("1", 1, "imece/review")


async def test_an_answer_that_kafka_did_not_take_is_told_again_as_the_same_event(
    world, monkeypatch
):
    kafka = Kafka()
    reviews = Reviews(world.database, kafka, world.policy, poll_seconds=1)
    await reviews.on_requests([asked("1")])
    world.database.transact(people.add, CAN.name, False, world.now)
    world.answer(CAN, world.next(CAN), "first")
    monkeypatch.setattr(routes.time, "time", lambda: world.now + 31)
    monkeypatch.setattr(routes.announce, "mark_announced", _away)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await reviews.announce()
    first, second = kafka.of(ReviewAnswered)
    assert (first.id, first.data, first.time) == (second.id, second.data, second.time)
    kafka.away = True
    monkeypatch.undo()
    monkeypatch.setattr(routes.time, "time", lambda: world.now + 31)
    with pytest.raises(UnavailableError):
        await reviews.announce()
    kafka.away = False
    await reviews.announce()
    assert len(kafka.of(ReviewAnswered)) == 3


def _away(*_: object) -> None:
    raise UnavailableError("away")


async def test_the_end_of_the_log_is_told_with_the_answers(world, monkeypatch):
    kafka = Kafka()
    reviews = Reviews(world.database, kafka, world.policy, poll_seconds=1)
    await reviews.on_requests([asked("1")])
    world.database.transact(people.add, CAN.name, False, world.now)
    world.answer(CAN, world.next(CAN), "first")
    monkeypatch.setattr(routes.time, "time", lambda: world.now + 31)
    await reviews.announce()
    (told,) = kafka.of(AuditRecorded)
    assert told.data.subject == world.database.transact(ledger.head)[1]
    assert told.data.subject == world.log()[-1].hash
