"""A promotion that waits for a canary: what holds, what rejects, what comes twice or late."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import RejectedError
from imece.events import (
    AuditRecorded,
    CanaryReported,
    PromotionApproved,
    PromotionDecided,
    PromotionProposed,
    new,
)
from services.evaluator import canary, core, store
from services.evaluator.canary import Report
from services.evaluator.explain import explain
from services.evaluator.policy import ApprovalPolicy, CanaryPolicy
from tests.unit.evaluator.builders import items
from tests.unit.evaluator.world import POLICY, World, adapter, requested

LIVE = CanaryPolicy(service="gateway", alpha=0.05, enough=100, hours=1)
WAITS = POLICY.model_copy(update={"canary": LIVE})
BOTH = WAITS.model_copy(update={"approval": ApprovalPolicy(people=1, hours=2)})
BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)


async def proposed(world: World, policy: object = WAITS, id: str = "r1") -> str:
    world.policy = policy  # type: ignore[assignment]
    world.decider = world.fresh_decider()
    event = requested(id=id)
    await world.routes.on_asked(event)
    evaluation = core.evaluation_id(event)
    await world.end_job(evaluation, GOOD, BASELINE)
    for _ in range(4):
        await world.decider.tick(time.time())
    return evaluation


async def report(world: World, id: str, wins: int, losses: int, by: str = "gateway") -> None:
    said = CanaryReported(evaluation=id, by=by, wins=wins, losses=losses)
    await world.routes.on_canary(new(said, "test"))
    await tick(world)


async def tick(world: World, later: float = 0) -> None:
    for _ in range(2):
        await world.decider.tick(time.time() + later)


async def test_a_candidate_is_challenger_first_and_champion_once_the_canary_holds(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        (asked,) = world.sent(PromotionProposed)
        assert (asked.evaluation, asked.canary, asked.people) == (id, "gateway", 0)
        await report(world, id, 5, 3)
        assert world.sent(PromotionDecided) == []
        assert await world.database.run(store.champion) is None
        await report(world, id, 30, 5)
        (decision,) = world.sent(PromotionDecided)
        assert (decision.verdict, decision.checks[-1].name) == ("promote", "canary")
        assert "better is shown" in decision.checks[-1].detail
        assert await world.database.run(store.champion) == adapter("new", 1)
        actions = [audit.action for audit in world.sent(AuditRecorded)]
        assert actions == ["promotion.awaiting_approval", "promotion.promote"]
        assert explain(world.artifacts, decision)["same"] is True
        forged = decision.model_copy(update={"verdict": "reject"})
        assert explain(world.artifacts, forged)["differing"] == ["verdict"]
        assert "canary" in decision.inputs


async def test_harm_among_users_rejects_at_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world, BOTH)  # and nobody has to say anything
        await report(world, id, 5, 30)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"
        assert {c.name: c.outcome for c in decision.checks}["canary"] == "failed"
        assert await world.database.run(store.champion) is None
        assert explain(world.artifacts, decision)["same"] is True


async def test_enough_pairs_without_harm_hold(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        await report(world, id, 49, 50)
        assert world.sent(PromotionDecided) == []
        await report(world, id, 50, 50)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "promote"
        assert "worse is not shown" in decision.checks[-1].detail


async def test_a_canary_that_is_silent_withholds_when_its_time_is_over(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        await report(world, id, 3, 1)
        await tick(world, 3500)
        assert world.sent(PromotionDecided) == []
        await tick(world, 3700)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "inconclusive"
        assert "96 more pairs" in decision.checks[-1].detail
        await report(world, id, 90, 1)  # too late, and harmless
        assert len(world.sent(PromotionDecided)) == 1


async def test_reports_that_come_twice_or_late_change_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        for wins, losses in ((6, 4), (6, 4), (2, 1), (0, 0), (6, 4)):
            await report(world, id, wins, losses)
        await report(world, id, 30, 5)
        await report(world, id, 30, 80)
        (decision,) = world.sent(PromotionDecided)
        assert decision.checks[-1].numbers["wins"] == 30


async def test_the_first_report_that_settles_it_stands_though_nobody_looked_in_between(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        for wins, losses in ((5, 30), (60, 60)):
            said = CanaryReported(evaluation=id, by="gateway", wins=wins, losses=losses)
            await world.routes.on_canary(new(said, "test"))
        await tick(world)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"


async def test_reports_that_cannot_count_are_refused_by_name(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        with pytest.raises(RejectedError, match="there is no evaluation"):
            await report(world, "nothing", 1, 1)
        id = await proposed(world)
        with pytest.raises(RejectedError, match="waits for no canary of mallory"):
            await report(world, id, 99, 0, by="mallory")
        await report(world, id, 6, 4)
        with pytest.raises(RejectedError, match="counts less than the one before"):
            await report(world, id, 20, 1)
        assert world.sent(PromotionDecided) == []
        waiting = await proposed(world, POLICY, "r2")
        assert len(world.sent(PromotionDecided)) == 1
        await report(world, waiting, 1, 1)  # decided without a canary: late, and harmless


async def test_people_and_canary_both_have_to_agree(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world, BOTH)
        await report(world, id, 30, 5)
        assert world.sent(PromotionDecided) == []
        said = PromotionApproved(evaluation=id, by="mehmet")
        await world.routes.on_approval(new(said, "test"))
        await tick(world)
        (decision,) = world.sent(PromotionDecided)
        assert (decision.verdict, decision.approvals) == ("promote", ("mehmet",))
        assert [c.name for c in decision.checks[-2:]] == ["approval", "canary"]
        assert explain(world.artifacts, decision)["same"] is True


async def test_a_person_may_stop_a_canary(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        said = PromotionApproved(evaluation=id, by="mehmet", approved=False, note="şikâyet var")
        await world.routes.on_approval(new(said, "test"))
        await tick(world)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"
        assert explain(world.artifacts, decision)["same"] is True


def test_a_model_that_serves_waits_for_no_canary_to_stay() -> None:
    assert not canary.wanted("promote", LIVE, serving=True)
    assert not canary.wanted("reject", LIVE, serving=False)
    assert not canary.wanted("promote", None, serving=False)


def test_an_equal_candidate_is_seldom_rejected_though_every_report_is_looked_at() -> None:
    dice, rejected, runs = random.Random(4), 0, 400
    policy = LIVE.model_copy(update={"enough": 200})
    for _ in range(runs):
        wins = losses = 0
        outcome = "inconclusive"
        while outcome == "inconclusive":
            better = dice.random() < 0.5
            wins, losses = wins + better, losses + (not better)
            outcome = canary.check(Report(by="gateway", wins=wins, losses=losses), policy).outcome
        rejected += outcome == "failed"
    assert rejected / runs <= 0.05


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_any_counts_are_an_event_and_more_losses_never_pass_as_better(
    wins: int, losses: int
) -> None:
    check = canary.check(Report(by="g", wins=wins, losses=losses), LIVE)
    check.model_validate_json(check.model_dump_json())
    assert wins > losses or "better is shown" not in check.detail
