"""Quarantined feedback goes to people and comes back decided, through both services' events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from imece.events import Correction, Envelope, FeedbackDecided, ReviewRequested, new
from tests.unit.feedback_guard.test_routes import Guard, feedback, guard  # noqa: F401
from tests.unit.review.world import World, made


@pytest.fixture
async def people(tmp_path) -> AsyncIterator[World]:
    folder = tmp_path / "review"
    folder.mkdir()
    found = made(folder)
    async with found.database:
        yield found


@pytest.mark.parametrize(("word", "verdict"), [("right", "accept"), ("wrong", "reject")])
async def test_two_people_decide_what_the_guard_could_not(
    guard: Guard,  # noqa: F811
    people: World,
    word: str,
    verdict: str,
):
    out = await guard.send(feedback("1", Correction(text="Zeynep Hanım")))
    people.ask(*_of(out, ReviewRequested))
    for name in ("ayşe", "can"):
        who = people.reviewer(name)
        task = people.next(who)
        assert task is not None
        (option,) = [text for text in task.options if text.startswith(word)]
        people.answer(who, task, option)
    people.now += 60
    guard.published.clear()
    for answer in people.final():
        await guard.routes.on_review(new(answer, "imece/review"))
    (decided,) = _of(guard.published, FeedbackDecided)
    assert (decided.data.feedback, decided.data.verdict) == ("1", verdict)


def _of(events: list[Envelope[Any]], kind: type) -> list[Envelope[Any]]:
    return [event for event in events if isinstance(event.data, kind)]
