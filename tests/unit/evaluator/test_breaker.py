"""After repeated breaches nothing of a model is promoted until a person clears them by name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import RejectedError
from imece.events import AuditRecorded, BreakerCleared, Envelope, PromotionDecided, new
from services.evaluator import breaker, core, store
from services.evaluator.breaker import Breach
from services.evaluator.explain import explain
from services.evaluator.policy import BreakerPolicy
from services.evaluator.probes import Probe
from tests.unit.evaluator.builders import items
from tests.unit.evaluator.world import POLICY, World, adapter, requested

TWO = BreakerPolicy(breaches=2, days=7)
DAY = 86_400
BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)
LIE = Probe("claim", "2+2?", "2+2?", ("4",), ("5",), "trusted", candidate="5", baseline="4")


class Line:
    """One model evaluated again and again."""

    def __init__(self, world: World) -> None:
        self.world, self.count = world, 0
        world.policy = POLICY.model_copy(update={"breaker": TWO})
        world.decider = world.fresh_decider()

    async def decided(
        self, *, lie: bool = False, model: str = "new", later: float = 0
    ) -> PromotionDecided:
        self.count += 1
        event = requested(model, id=f"r{self.count}", number=self.count % 16)
        await self.world.routes.on_asked(event)
        id = core.evaluation_id(event)
        await self.world.end_job(id, GOOD, BASELINE, [LIE] if lie else [])
        for seconds in (0, 1, 2):
            await self.world.decider.tick(time.time() + later + seconds)
        (found,) = [d for d in self.world.sent(PromotionDecided) if d.evaluation == id]
        return found

    async def clear(
        self, *decisions: PromotionDecided, model: str = "new"
    ) -> Envelope[BreakerCleared]:
        ids = tuple(each.evaluation for each in decisions)
        event = new(BreakerCleared(model=model, evaluations=ids, by="ayşe"), "test")
        await self.world.routes.on_cleared(event)
        return event


def outcome(decision: PromotionDecided) -> str | None:
    return {check.name: check.outcome for check in decision.checks}.get("breaker")


async def test_breaches_stop_promotions_until_a_person_clears_them(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        one, two = await line.decided(lie=True), await line.decided(lie=True)
        assert (one.verdict, two.verdict) == ("reject", "reject")
        held = await line.decided()
        assert (held.verdict, outcome(held)) == ("inconclusive", "inconclusive")
        assert one.evaluation in held.checks[-1].detail
        assert two.evaluation in held.checks[-1].detail
        assert await world.database.run(store.champion) is None
        assert "breaches" in held.inputs
        assert explain(world.artifacts, held)["same"] is True
        await line.clear(one, two)
        free = await line.decided()
        assert (free.verdict, outcome(free)) == ("promote", None)
        assert all(explain(world.artifacts, each)["same"] for each in (one, two, held, free))


async def test_one_breach_or_breaches_of_another_model_stop_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        await line.decided(lie=True)
        for _ in range(2):
            await line.decided(lie=True, model="other")
        free = await line.decided()
        assert (free.verdict, outcome(free)) == ("promote", "passed")


async def test_old_breaches_are_forgotten(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        for _ in range(2):
            await line.decided(lie=True)
        held = await line.decided(later=6 * DAY)
        free = await line.decided(later=8 * DAY)
        assert (held.verdict, free.verdict) == ("inconclusive", "promote")


async def test_clearing_names_decisions_so_a_later_breach_stays(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        one, two = await line.decided(lie=True), await line.decided(lie=True)
        three = await line.decided(lie=True)
        await line.clear(one)
        assert outcome(await line.decided()) == "inconclusive"
        await line.clear(two)
        free = await line.decided()
        assert (free.verdict, outcome(free)) == ("promote", "passed")
        assert three.evaluation in free.checks[-1].detail


async def test_a_second_delivery_of_a_clearing_is_harmless(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        one = await line.decided(lie=True)
        event = await line.clear(one)
        await world.routes.on_cleared(event)
        told = [a for a in world.sent(AuditRecorded) if a.action == "breaker.cleared"]
        assert [(a.subject, a.actor) for a in told] == [("new", "ayşe")]
        assert one.evaluation in told[0].detail


async def test_versions_of_a_model_share_one_breaker_and_are_cleared_together(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        broken = [await line.decided(lie=True, model=f"support-v{n}") for n in (1, 2)]
        assert (await line.decided(model="supporters-v1")).verdict == "promote"
        stopped = await line.decided(model="support-v3")
        assert (stopped.verdict, outcome(stopped)) == ("inconclusive", "inconclusive")
        await line.clear(*broken, model="support-v3")
        assert (await line.decided(model="support-v4")).verdict == "promote"


async def test_what_is_not_about_the_model_is_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        one, two = await line.decided(lie=True), await line.decided(lie=True)
        with pytest.raises(RejectedError, match="none of the decisions"):
            await line.clear(one, two, model="other")
        assert outcome(await line.decided()) == "inconclusive"


async def test_a_champion_that_is_evaluated_again_is_not_stopped(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        for _ in range(2):
            await line.decided(lie=True)
        await world.database.run(
            lambda connection: store._crown(
                connection, store.CHAMPION, adapter("new", line.count + 1), "e"
            )
        )
        assert outcome(await line.decided()) is None


async def test_a_rollback_is_a_breach(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        line = Line(world)
        decision = await line.decided()
        back = decision.model_copy(update={"rolled_back": True, "verdict": "reject"})
        assert breaker.why(decision) == ""
        assert breaker.why(back) == "rollback"


breaches = st.lists(
    st.builds(
        Breach,
        evaluation=st.text("abc", min_size=1, max_size=3),
        why=st.just("rollback"),
        at=st.floats(0, 30 * DAY),
        cleared_by=st.sampled_from(["", "ayşe"]),
    ),
    max_size=12,
)


@given(breaches, st.floats(0, 30 * DAY), st.integers(1, 4))
def test_it_is_open_exactly_when_enough_uncleared_breaches_lie_in_the_window(
    known: list[Breach], now: float, limit: int
) -> None:
    policy = BreakerPolicy(breaches=limit, days=7)
    said = breaker.check("m", known, now, policy)
    live = [b for b in known if not b.cleared_by and now - 7 * DAY <= b.at <= now]
    assert (said is None) == (not live)
    assert (said is not None and said.outcome == "inconclusive") == (len(live) >= limit)
    assert said == breaker.check("m", known[::-1], now, policy)


@given(breaches, st.floats(0, 30 * DAY))
def test_clearing_all_breaches_closes_it_whatever_they_are(known: list[Breach], now: float) -> None:
    cleared = [each.model_copy(update={"cleared_by": "ayşe"}) for each in known]
    assert breaker.check("m", cleared, now, BreakerPolicy(breaches=1, days=7)) is None
