"""A promotion that waits for two people: who counts, what comes late, and what is recomputed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import RejectedError
from imece.events import AuditRecorded, PromotionApproved, PromotionDecided, PromotionProposed, new
from services.evaluator import approval, core, store
from services.evaluator.approval import Word
from services.evaluator.explain import explain
from services.evaluator.policy import ApprovalPolicy
from tests.unit.evaluator.builders import items
from tests.unit.evaluator.world import POLICY, World, adapter, requested

TWO = POLICY.model_copy(update={"approval": ApprovalPolicy(people=2, hours=1)})
BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)
names = st.sampled_from(["ada", "Ada", "ADA ", "işıl", "IŞIL", "can"])


async def proposed(world: World, *, asked_by: str | None = "ayşe", baseline: Any = None) -> str:
    world.policy = TWO
    world.decider = world.fresh_decider()
    event = requested(requested_by=asked_by)
    await world.routes.on_asked(event)
    id = core.evaluation_id(event)
    await world.end_job(id, GOOD, BASELINE)
    for _ in range(4):
        await world.decider.tick(time.time())
    return id


async def say(world: World, id: str, by: str, *, approved: bool = True, note: str = "") -> None:
    said = PromotionApproved(evaluation=id, by=by, approved=approved, note=note)
    await world.routes.on_approval(new(said, "test"))
    for _ in range(2):
        await world.decider.tick(time.time())


async def test_two_different_people_make_a_champion_and_the_decision_names_them(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        (asked,) = world.sent(PromotionProposed)
        assert (asked.evaluation, asked.people, asked.requested_by) == (id, 2, "ayşe")
        assert {check.outcome for check in asked.checks} == {"passed"}
        await say(world, id, "mehmet")
        await say(world, id, "MEHMET")  # one person, however spelled
        assert world.sent(PromotionDecided) == []
        assert await world.database.run(store.champion) is None
        await say(world, id, "zeynep")
        (decision,) = world.sent(PromotionDecided)
        assert (decision.verdict, decision.approvals) == ("promote", ("mehmet", "zeynep"))
        assert await world.database.run(store.champion) == adapter("new", 1)
        actions = [audit.action for audit in world.sent(AuditRecorded)]
        assert actions == ["promotion.awaiting_approval", "promotion.promote"]
        assert "approvals" in decision.inputs
        assert explain(world.artifacts, decision)["same"] is True
        forged = decision.model_copy(update={"approvals": ("mehmet", "kemal")})
        assert explain(world.artifacts, forged)["differing"] == ["approvals"]


async def test_a_second_delivery_and_a_late_word_change_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        for by in ("mehmet", "mehmet", "zeynep", "zeynep", "kemal"):
            await say(world, id, by)
        await say(world, id, "kemal", approved=False)
        (decision,) = world.sent(PromotionDecided)
        assert decision.approvals == ("mehmet", "zeynep")
        assert await world.database.run(store.champion) == adapter("new", 1)


async def test_who_asked_for_it_cannot_approve_but_can_deny(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        with pytest.raises(RejectedError, match="somebody else"):
            await say(world, id, "AYŞE")
        await say(world, id, "ayşe", approved=False, note="yanlış veri")
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"
        (check,) = [c for c in decision.checks if c.name == "approval"]
        assert check.outcome == "failed"
        assert "yanlış veri" in check.detail
        assert explain(world.artifacts, decision)["same"] is True


async def test_a_person_who_approved_may_still_deny(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        await say(world, id, "mehmet")
        await say(world, id, "mehmet", approved=False)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"


async def test_a_proposal_that_nobody_approves_in_time_is_withheld(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        await say(world, id, "mehmet")
        await world.decider.tick(time.time() + 3500)
        assert world.sent(PromotionDecided) == []
        for _ in range(2):
            await world.decider.tick(time.time() + 3700)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "inconclusive"
        assert "1 of 2 people" in decision.checks[-1].detail
        assert await world.database.run(store.champion) is None
        await say(world, id, "zeynep")  # too late, and harmless
        assert len(world.sent(PromotionDecided)) == 1


async def test_words_about_what_does_not_wait_are_refused_by_name(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        with pytest.raises(RejectedError, match="there is no evaluation"):
            await say(world, "nothing", "mehmet")
        event = requested()
        await world.routes.on_asked(event)
        with pytest.raises(RejectedError, match="no promotion waits"):
            await say(world, core.evaluation_id(event), "mehmet")


async def test_a_crash_between_proposal_and_telling_tells_it_once_more(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        world.decider = world.fresh_decider()
        await world.decider.tick(time.time())
        assert len(world.sent(PromotionProposed)) == 1
        await say(world, id, "mehmet")
        world.decider = world.fresh_decider()
        await say(world, id, "zeynep")
        assert len(world.sent(PromotionDecided)) == 1


async def test_another_champion_in_the_meantime_withholds_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        id = await proposed(world)
        await world.database.run(
            lambda connection: store._crown(connection, store.CHAMPION, adapter("other", 3), "e")
        )
        await say(world, id, "mehmet")
        await say(world, id, "zeynep")
        (decision,) = world.sent(PromotionDecided)
        assert (decision.verdict, decision.champion.name) == ("inconclusive", "other")
        assert explain(world.artifacts, decision)["same"] is True


def test_without_flips_a_policy_may_ask_nobody() -> None:
    policy = ApprovalPolicy(people=2, hours=1, when="flips")
    assert not approval.wanted("promote", (), policy, serving=False)
    assert not approval.wanted("reject", (), TWO.approval, serving=False)
    assert not approval.wanted("promote", (), TWO.approval, serving=True)
    assert approval.wanted("promote", (), TWO.approval, serving=False)


@given(st.lists(st.builds(Word, by=names, approved=st.booleans())), st.sampled_from(["ADA", None]))
def test_no_person_counts_twice_and_the_requester_never(words: list[Word], asked: Any) -> None:
    found = approval.approvers(words, asked)
    people = {approval.person(name) for name in found}
    assert len(people) == len(found)
    assert asked is None or approval.person(asked) not in people
    said = approval.check(words, 2, asked)
    assert (said.outcome == "passed") == (len(found) >= 2 and all(w.approved for w in words))
