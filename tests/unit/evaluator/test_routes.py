"""From a request to a promotion, with repeats, failures and a judge that may stay silent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from imece.errors import RejectedError, UnavailableError
from imece.events import (
    AdapterTrained,
    AuditRecorded,
    Envelope,
    EvaluationCompleted,
    JudgementRequested,
    LoraRecipe,
    ModelRef,
    PromotionDecided,
)
from imece.runtime.jobs import store as job_store
from imece.runtime.settings import Settings
from services.evaluator import core, store
from services.evaluator.app import build
from services.evaluator.core import Item
from tests.unit.evaluator.builders import items, judged
from tests.unit.evaluator.world import MOMENT, SUITE, World, adapter, requested

BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)
POISONED = items([True] * 20) + items([False] * 20, slice="sum", guard=True)


async def evaluated(
    world: World, event: Envelope[Any], candidate: list[Item], *, at: float = 0
) -> str:
    await world.routes.on_asked(event)
    id = core.evaluation_id(event)
    await world.end_job(id, candidate, BASELINE)
    now = at or time.time()
    for _ in range(3):
        await world.decider.tick(now)
    return id


async def test_a_good_model_becomes_champion_and_that_is_audited(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await evaluated(world, requested(), GOOD)
        (figures,) = world.sent(EvaluationCompleted)
        assert figures.evaluation == id
        assert world.artifacts.get(figures.items, figures.items_digest)
        (decision,) = world.sent(PromotionDecided)
        assert (decision.verdict, decision.champion) == ("promote", adapter("new", 1))
        assert [audit.action for audit in world.sent(AuditRecorded)] == ["promotion.promote"]
        assert await world.database.run(store.champion) == adapter("new", 1)


async def test_a_poisoned_model_is_rejected_and_the_baseline_stays(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await evaluated(world, requested(), POISONED)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"
        assert decision.champion == ModelRef(name="base", base="/base")
        assert await world.database.run(store.champion) is None


async def test_the_next_candidate_is_compared_with_the_champion(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await evaluated(world, requested("first"), GOOD)
        second = requested("second", id="r2", number=2)
        await world.routes.on_asked(second)
        rows = await world.database.run(store.unfinished)
        assert [row.baseline for row, _ in rows] == [adapter("first", 1)]


async def test_a_champion_that_breaks_a_probe_is_rolled_back_to_the_one_before(
    tmp_path: Path,
) -> None:
    better = items([True] * 20) + items([True] * 20, slice="sum", guard=True)
    async with World(tmp_path) as world:
        await evaluated(world, requested("first"), GOOD)
        await evaluated(world, requested("second", id="r2", number=2), better)
        assert await world.database.run(store.champion) == adapter("second", 2)
        await world.routes.on_asked(requested("second", id="r3", number=2))
        rows = await world.database.run(store.unfinished)
        assert [row.baseline for row, _ in rows] == [adapter("first", 1)]
        await evaluated(world, requested("second", id="r3", number=2), POISONED)
        decision = world.sent(PromotionDecided)[-1]
        assert (decision.verdict, decision.rolled_back) == ("reject", True)
        assert decision.champion == adapter("first", 1)
        assert await world.database.run(store.champion) == adapter("first", 1)
        assert world.sent(AuditRecorded)[-1].action == "promotion.rollback"


async def test_a_stale_baseline_does_not_unseat_the_champion(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await evaluated(world, requested("first"), GOOD)
        base = ModelRef(name="base", base="/base")
        await evaluated(world, requested("late", id="r2", number=2, baseline=base), GOOD)
        decision = world.sent(PromotionDecided)[-1]
        assert (decision.verdict, decision.champion.name) == ("inconclusive", "first")


async def test_redelivery_and_a_crash_anywhere_change_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        event = requested()
        await world.routes.on_asked(event)
        await world.routes.on_asked(event)
        await evaluated(world, event, GOOD)
        before = len(world.sent(PromotionDecided) + world.sent(EvaluationCompleted))
        await world.routes.on_asked(event)
        world.decider = world.fresh_decider()
        await world.decider.tick(time.time())
        after = len(world.sent(PromotionDecided) + world.sent(EvaluationCompleted))
        assert (before, after) == (2, 2)


async def test_a_decision_that_the_broker_did_not_take_is_published_later_unchanged(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        publish = world.publish
        lost: list[Envelope[Any]] = []

        async def unreachable(*events: Envelope[Any]) -> None:
            lost.extend(events)
            raise UnavailableError("no broker")

        await world.routes.on_asked(requested())
        await world.end_job(core.evaluation_id(requested()), GOOD, BASELINE)
        await world.decider.tick(time.time())
        await world.decider.tick(time.time())
        world.publish = unreachable  # type: ignore[method-assign]
        with pytest.raises(UnavailableError):
            await world.fresh_decider().tick(time.time())
        world.publish = publish  # type: ignore[method-assign]
        await world.fresh_decider().tick(time.time())
        assert world.published[-2:] == lost


async def test_the_judge_is_asked_blindly_and_the_gate_waits_for_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await evaluated(world, requested(judge_items=4), GOOD)
        asked = world.sent(JudgementRequested)
        assert len(asked) == 4
        assert {a.answer_a for a in asked} | {a.answer_b for a in asked} == {"yes", "no"}
        assert world.sent(PromotionDecided) == []
        told = [judged(a.item, "a", evaluation=id) for a in asked]
        envelopes = [Envelope(each, each.item, "imece/llm-judge", MOMENT) for each in told]
        await world.routes.on_judgements(envelopes)
        await world.routes.on_judgements(envelopes)
        await world.decider.tick(time.time())
        await world.decider.tick(time.time())
        (decision,) = world.sent(PromotionDecided)
        assert decision.checks[-1].numbers["missing"] == 0


async def test_a_silent_judge_does_not_hold_the_gate_for_ever(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await evaluated(world, requested(judge_items=4), GOOD)
        for _ in range(2):
            await world.decider.tick(time.time() + 101)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "promote"
        assert decision.checks[-1].numbers["missing"] == 4


async def test_judgements_of_other_evaluations_are_not_kept(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        other = judged("x", "a", evaluation="someone-elses")
        await world.routes.on_judgements([Envelope(other, "1", "imece/llm-judge", MOMENT)])
        assert await world.database.run(store.judgements, "someone-elses") == []


async def test_a_failed_evaluation_is_told_and_decides_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.routes.on_asked(requested())
        await world.fail_job(core.evaluation_id(requested()))
        await world.decider.tick(time.time())
        (figures,) = world.sent(EvaluationCompleted)
        assert figures.failure is not None
        assert (figures.failure.reason, figures.metrics, figures.items) == ("unknown_base", (), "")
        assert world.sent(PromotionDecided) == []
        assert await world.database.run(store.unfinished) == []


async def test_items_that_vanished_leave_the_gate_inconclusive(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.routes.on_asked(requested())
        id = core.evaluation_id(requested())
        await world.end_job(id, GOOD, BASELINE)
        (tmp_path / "artifacts" / id / "baseline.jsonl").write_bytes(b"changed")
        for _ in range(3):
            await world.decider.tick(time.time())
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "inconclusive"
        assert decision.checks[0].name == "stored-items"


async def test_measuring_alone_promotes_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await evaluated(world, requested(decide=False), GOOD)
        assert len(world.sent(EvaluationCompleted)) == 1
        assert world.sent(PromotionDecided) == []


async def test_an_adapter_is_evaluated_only_when_it_brings_a_plan(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        trained = AdapterTrained(
            model="new",
            job="j",
            ref=adapter("new", 1),
            datasets=(SUITE,),
            recipe=LoraRecipe(),
            metrics={},
        )
        await world.routes.on_asked(Envelope(trained, "1", "imece/adapter", MOMENT))
        assert world.published == []
        planned = trained.model_copy(update={"evaluation": requested().data.plan})
        event = Envelope(planned, "2", "imece/adapter", MOMENT)
        await world.routes.on_asked(event)
        assert world.state() == "queued"
        job = await world.database.run(job_store.get, core.evaluation_id(event))
        assert job is not None
        assert [ref["dataset"] for ref in job.request["learned"]["datasets"]] == ["s"]


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (ModelRef(name="x", base="ftp://x"), "unknown_base_scheme"),
        (ModelRef(name="x", base="/b", adapter="file:///a"), "no_adapter_digest"),
    ],
)
async def test_a_request_that_can_never_work_is_refused(
    tmp_path: Path, ref: ModelRef, reason: str
) -> None:
    async with World(tmp_path) as world:
        event = requested()
        bad = event.data.model_copy(update={"ref": ref})
        with pytest.raises(RejectedError) as raised:
            await world.routes.on_asked(Envelope(bad, "1", "app", MOMENT))
        assert raised.value.reason == reason


async def test_the_service_is_put_together_without_opening_anything(tmp_path: Path) -> None:
    async def publish(*_: Envelope[Any]) -> None: ...

    service = build(Settings(home=tmp_path / "home"), publish)
    topics = {each.event.topic.name for each in service.subscriptions}
    assert topics == {
        "imece.evaluation.requested.v1",
        "imece.adapter.trained.v1",
        "imece.judgement.completed.v1",
        "imece.promotion.approved.v1",
        "imece.breaker.cleared.v1",
        "imece.canary.reported.v1",
        "imece.job.cancel-requested.v1",
    }
    assert not (tmp_path / "home" / "evaluator.db").exists()
