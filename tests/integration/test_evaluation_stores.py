"""The state of evaluator and judge on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from imece.events import Envelope, JudgementRequested, PromotionDecided
from imece.runtime.database import Database
from services.evaluator import core
from services.evaluator import store as evaluations
from services.llm_judge import store as judgements
from tests.integration.postgres import postgresql  # noqa: F401 - a fixture
from tests.unit.evaluator.builders import judged
from tests.unit.evaluator.world import adapter, requested

MOMENT = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        found: str = request.getfixturevalue("postgresql")
        return found
    return f"sqlite:///{tmp_path / 'state.db'}"


async def test_requests_are_claimed_once_and_the_first_verdict_stands(url: str) -> None:
    events = [
        Envelope(
            JudgementRequested(
                item=f"i{n}", evaluation="e", prompt="?", answer_a="x", answer_b="y"
            ),
            f"r{n}",
            "app",
            MOMENT,
        )
        for n in range(3)
    ]
    async with Database(url, judgements.METADATA, "llm-judge") as database:
        assert await database.run(judgements.add, events, 1.0) == []
        assert await database.run(judgements.add, events, 2.0) == []
        mine = await database.run(judgements.claim, "me", 10.0, 60.0, 2)
        rest = await database.run(judgements.claim, "you", 10.0, 60.0, 5)
        assert (len(mine), len(rest)) == (2, 1)
        assert {r.id for r in mine} | {r.id for r in rest} == set(map(judgements.key, events))
        await database.run(judgements.release, "you")
        assert await database.run(judgements.claim, "me", 11.0, 60.0, 5) == rest
        first = await database.run(judgements.keep, rest[0].id, judged("i", "a"), 12.0)
        assert await database.run(judgements.keep, rest[0].id, judged("i", "b"), 13.0) == first
        assert await database.run(judgements.add, events, 14.0) == [first]
        assert await database.run(judgements.unannounced) == [first]
        await database.run(judgements.mark_announced, [first.id])
        assert await database.run(judgements.unannounced) == []
        assert len(await database.run(judgements.claim, "you", 100.0, 60.0, 5)) == 2


async def test_the_first_decision_stands_and_names_the_champion(url: str) -> None:
    event = requested(judge_items=1)
    asked, id = core.asked(event), core.evaluation_id(event)
    assert asked is not None
    async with Database(url, evaluations.METADATA, "evaluator") as database:
        kept = await database.run(evaluations.add, id, asked, None, None)
        assert await database.run(evaluations.add, id, asked, adapter("x", 2), "t") == kept
        await database.run(evaluations.start_judging, id, 1, 50.0)
        told = [judged("i", "a", evaluation=id), judged("other", "a", evaluation="other")]
        await database.run(evaluations.add_judgements, told)
        await database.run(evaluations.add_judgements, [judged("i", "b", evaluation=id)])
        assert await database.run(evaluations.judgements, id) == told[:1]
        for verdict, name in (("promote", "new"), ("reject", "late")):
            decision = PromotionDecided.model_validate(
                {
                    "model": name,
                    "evaluation": id,
                    "verdict": verdict,
                    "checks": (),
                    "candidate": adapter(name, 1),
                    "champion": adapter(name, 1),
                    "policy": "p",
                }
            )
            await database.run(evaluations.decide, id, decision, 60.0)
        ((row, _),) = await database.run(evaluations.unfinished)
        assert row.decision is not None
        assert (row.state, row.decision.verdict) == ("decided", "promote")
        assert await database.run(evaluations.champion) == adapter("new", 1)
        await database.run(evaluations.finish, id)
        assert await database.run(evaluations.unfinished) == []
