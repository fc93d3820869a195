"""A decision can be made again from what it names, and a changed input is noticed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imece.cli.gate import recompute
from imece.errors import ConfigError, RejectedError
from imece.events import PromotionDecided
from services.evaluator import core
from services.evaluator.explain import explain
from services.evaluator.probes import Probe
from tests.unit.evaluator.builders import items
from tests.unit.evaluator.world import World, adapter, requested

BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)


async def decided(world: World, judge_items: int = 0) -> PromotionDecided:
    event = requested(judge_items=judge_items)
    await world.routes.on_asked(event)
    id = core.evaluation_id(event)
    await world.end_job(id, GOOD, BASELINE)
    for later in (0, 101, 202):
        await world.decider.tick(time.time() + later)
    (decision,) = world.sent(PromotionDecided)
    return decision


async def test_a_decision_is_recomputed_bit_for_bit(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        decision = await decided(world, judge_items=3)
        assert set(decision.inputs) == {
            "candidate-items",
            "baseline-items",
            "judgements",
            "policy",
            "evidence",
        }
        found = explain(world.artifacts, decision)
        assert (found["same"], found["differing"]) == (True, [])


async def test_a_decision_that_says_something_else_is_different(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        decision = await decided(world)
        forged = decision.model_copy(update={"verdict": "reject", "champion": adapter("other", 7)})
        found = explain(world.artifacts, forged)
        assert found["differing"] == ["verdict", "champion"]


async def test_changed_answers_cannot_be_explained_away(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        decision = await decided(world)
        (stored,) = (tmp_path / "artifacts").rglob("items.jsonl")
        stored.write_bytes(stored.read_bytes().replace(b"yes", b"no!", 1))
        with pytest.raises(RejectedError, match="bytes changed"):
            explain(world.artifacts, decision)


async def test_the_command_runs_the_gate_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        decision = await decided(world)
    monkeypatch.setenv("IMECE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("IMECE_HOME", str(tmp_path / "home"))
    assert recompute(decision)["same"] is True
    with pytest.raises(ConfigError, match="names no evidence"):
        recompute(decision.model_copy(update={"evidence": "", "inputs": {}}))


async def test_the_second_gate_forbids_what_the_first_allowed_and_can_be_explained(
    tmp_path: Path,
) -> None:
    lie = Probe("claim", "2+2?", "2+2?", ("4",), ("5",), "trusted", candidate="5", baseline="4")
    async with World(tmp_path) as world:
        event = requested()
        await world.routes.on_asked(event)
        await world.end_job(core.evaluation_id(event), GOOD, BASELINE, [lie])
        for later in (0, 101, 202):
            await world.decider.tick(time.time() + later)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "reject"
        assert [c.name for c in decision.checks if c.outcome == "failed"] == ["claim-probes"]
        assert "probes" in decision.inputs
        assert explain(world.artifacts, decision)["same"]
        (stored,) = (tmp_path / "artifacts").rglob("probes.jsonl")
        stored.write_bytes(stored.read_bytes().replace(b'"5"', b'"4"', 1))
        with pytest.raises(RejectedError, match="bytes changed"):
            explain(world.artifacts, decision)


async def test_what_could_not_be_asked_withholds_a_promotion_by_name(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        event = requested()
        await world.routes.on_asked(event)
        id = core.evaluation_id(event)
        await world.end_job(id, GOOD, BASELINE, unprobed="data set s version 1 is gone")
        for later in (0, 101, 202):
            await world.decider.tick(time.time() + later)
        (decision,) = world.sent(PromotionDecided)
        assert decision.verdict == "inconclusive"
        (doubt,) = [c for c in decision.checks if c.outcome != "passed"]
        assert doubt.name == "probes"
        assert "data set s version 1 is gone" in doubt.detail
        assert explain(world.artifacts, decision)["same"]
