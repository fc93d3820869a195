"""What services ask people comes back to them, through the events of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from imece.cli.judge import labelled
from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    JudgementCompleted,
    JudgementRequested,
    ReviewRequested,
    new,
)
from services.llm_judge import store as judgements
from services.llm_judge.routes import announcements
from services.review import shares
from services.review.policy import Sampling
from tests.unit.feedback_guard.conftest import database  # noqa: F401
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


async def test_few_answers_about_the_judge_speak_for_all_it_judged_and_weigh_as_drawn(
    people: World,
):
    people.policy = people.policy.model_copy(
        update={"sampling": Sampling(low=0.2, floor=0.2), "answers": 1}
    )
    requests, told = zip(*(_judged(n, right=n % 4 > 0) for n in range(400)), strict=True)
    people.ask(*_of([event for each in told for event in each], ReviewRequested))
    who = people.reviewer("ayşe")
    better = {request.data.answer_a: request.data.item for request in requests}
    while task := people.next(who):
        first = task.options[0] if task.options[0] in better else task.options[1]
        # Each twentieth time people see it differently from the judge.
        agrees = int(better[first]) % 20 > 0
        right = (int(better[first]) % 4 > 0) == agrees
        people.answer(who, task, first if right else f"not {first}")
    (share,) = people.database.transact(shares.shares)
    assert (share["items"], share["settled"] < 120) == (400, True)
    assert share["worth"] > 1.5
    people.now += 60
    answers = [new(answer, "imece/review") for answer in people.final()]
    rows = labelled(list(requests), [each[0] for each in told], answers)
    assert len(rows) == share["settled"]
    assert {row.weight for row in rows} == {5}
    assert any(row.people != (row.verdict,) for row in rows)


def _judged(number: int, *, right: bool) -> tuple[Envelope[JudgementRequested], list[Any]]:
    answer = f"answer {number}"
    asked = JudgementRequested(
        item=str(number), evaluation="e", prompt="?", answer_a=answer, answer_b=f"not {answer}"
    )
    event, side = new(asked, "app"), "a" if right else "b"
    told = {"item": asked.item, "evaluation": "e", "judge": "j", "verdict": side}
    told |= {"first_order": side, "second_order": side, "confidence": 1.0}
    verdict = JudgementCompleted.model_validate(told)
    id = judgements.key(event)
    return event, announcements(judgements.Stored(id, asked, None, verdict, event.time, 0.0))


def _of(events: list[Envelope[Any]], kind: type) -> list[Envelope[Any]]:
    return [event for event in events if isinstance(event.data, kind)]
