"""After a broken second gate adapters without each shard of authors tell whose feedback it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import RejectedError
from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    AuditRecorded,
    DatasetRef,
    Envelope,
    EvaluationPlan,
    Instruction,
    LoraRecipe,
    ModelRef,
    RevocationRequested,
)
from imece.runtime import shards
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs import store as job_store
from services.evaluator import core, job, probes, suspects
from services.evaluator.asking import Run
from services.evaluator.probes import Probe
from services.evaluator.second import ClaimPolicy, LeaveOutPolicy, SecondPolicy, TriggerPolicy
from tests.training import child_job, publish
from tests.unit.evaluator.builders import items
from tests.unit.evaluator.world import MOMENT, POLICY, SUITE, World, adapter

AUTHORS = {number: f"user-{number}" for number in range(30)}
LIARS = ("3", "5")
BASELINE = items([False] * 20) + items([True] * 20, slice="sum", guard=True)
GOOD = items([True] * 20) + items([True] * 20, slice="sum", guard=True)
LIE = Probe("claim", "2+2?", "2+2?", ("4",), ("5",), "trusted", "", LIARS, "5", "4")
FINE = Probe("claim", "3+3?", "3+3?", ("6",), ("7",), "trusted", "", ("9",), "6", "6")
CLAIMS = SecondPolicy(claims=ClaimPolicy())


def trained(
    model: str, ref: DatasetRef, plan: EvaluationPlan, number: int
) -> Envelope[AdapterTrained]:
    data = AdapterTrained(
        model=model,
        job=f"j-{model}",
        ref=adapter(model, number),
        datasets=(ref,),
        recipe=LoraRecipe(epochs=1),
        base="/base",
        metrics={},
        evaluation=plan,
    )
    return Envelope(data, f"trained-{model}", "imece/adapter", MOMENT)


async def broke(world: World, *, revoke: bool = False) -> tuple[str, DatasetRef]:
    """Let the second gate reject a candidate that learned from thirty people."""
    second = CLAIMS.model_copy(update={"leave_out": LeaveOutPolicy(shards=3, revoke=revoke)})
    world.policy = POLICY.model_copy(update={"second": second})
    world.decider = world.fresh_decider()
    rows = [Instruction(prompt=f"{n}?", response="5") for n in AUTHORS]
    ref = publish(world.artifacts, rows, authors=AUTHORS)
    event = trained("new", ref, EvaluationPlan(suites=(SUITE,)), 1)
    await world.routes.on_asked(event)
    id = core.evaluation_id(event)
    await world.end_job(id, GOOD, BASELINE, [LIE, FINE])
    await tick(world)
    return id, ref


async def tick(world: World, later: float = 0) -> None:
    for seconds in (0, 1, 2):
        await world.decider.tick(time.time() + later + seconds)


async def answer(world: World, ref: DatasetRef, honest: Sequence[int]) -> None:
    """Train what was asked for; without the `honest` shards the lie is gone."""
    for number, asked in enumerate(world.sent(AdaptationRequested), 2):
        event = trained(asked.model, ref, asked.evaluation, number)
        await world.routes.on_asked(event)
        said = "4" if asked.without.shard in honest else "5"
        again = [replace(LIE, candidate=said)]
        await world.end_job(core.evaluation_id(event), [], [], again)
    await tick(world)


def told(world: World) -> AuditRecorded:
    (found,) = [a for a in world.sent(AuditRecorded) if a.action.startswith("leave-out")]
    assert isinstance(found, AuditRecorded)
    return found


def liars_of(shard: int, salt: str) -> list[str]:
    names = (AUTHORS[int(row)] for row in LIARS)
    return sorted(name for name in names if shards.of_author(name, salt, 3) == shard)


async def test_each_shard_is_left_out_once_and_only_broken_probes_are_asked(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        id, ref = await broke(world)
        asked = world.sent(AdaptationRequested)
        assert [each.without.shard for each in asked] == [0, 1, 2]
        assert {(each.without.of, each.without.salt) for each in asked} == {(3, id)}
        assert {(e.evaluation.probes_of, e.evaluation.decide) for e in asked} == {(id, False)}
        assert {each.base for each in asked} == {"/base"}
        await tick(world)
        world.decider = world.fresh_decider()
        await tick(world)
        assert len(world.sent(AdaptationRequested)) == 3
        event = trained(asked[0].model, ref, asked[0].evaluation, 2)
        await world.routes.on_asked(event)
        found = await world.database.run(job_store.get, core.evaluation_id(event))
        assert found is not None
        stored = probes.load(
            world.artifacts.get(found.request["probes"]["uri"], found.request["probes"]["digest"])
        )
        assert suspects.broken(stored, CLAIMS) == [LIE]


@pytest.mark.parametrize("revoke", [False, True])
async def test_the_shard_without_which_it_holds_is_named_and_by_policy_revoked(
    tmp_path: Path, *, revoke: bool
) -> None:
    async with World(tmp_path) as world:
        id, ref = await broke(world, revoke=revoke)
        guilty = shards.of_author(AUTHORS[3], id, 3)
        await answer(world, ref, [guilty])
        await tick(world)
        said = told(world)
        assert (said.action, said.subject) == ("leave-out.found", "new")
        assert all(name in said.detail for name in liars_of(guilty, id))
        revoked = sorted(each.user for each in world.sent(RevocationRequested))
        assert revoked == (liars_of(guilty, id) if revoke else [])


@pytest.mark.parametrize("honest", [[], [0, 1, 2]])
async def test_where_no_shard_alone_is_guilty_nobody_is_revoked(
    tmp_path: Path, honest: list[int]
) -> None:
    async with World(tmp_path) as world:
        _, ref = await broke(world, revoke=True)
        await answer(world, ref, honest)
        assert told(world).action == "leave-out.unclear"
        assert world.sent(RevocationRequested) == []


async def test_trainings_that_never_come_back_end_with_the_time(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await broke(world, revoke=True)
        await tick(world, 23 * 3600)
        assert [a for a in world.sent(AuditRecorded) if a.action.startswith("leave-out")] == []
        await tick(world, 25 * 3600)
        assert told(world).action == "leave-out.unclear"
        assert "0 of 3 adapters" in told(world).detail


async def test_without_the_policy_nothing_is_trained(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        event = trained("new", SUITE, EvaluationPlan(suites=(SUITE,)), 1)
        await world.routes.on_asked(event)
        await world.end_job(core.evaluation_id(event), GOOD, BASELINE, [LIE])
        await tick(world)
        assert world.sent(AdaptationRequested) == []


async def test_probes_of_an_evaluation_without_any_are_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        plan = EvaluationPlan(suites=(SUITE,), decide=False, probes_of="nothing")
        with pytest.raises(RejectedError, match="has asked no probes"):
            await world.routes.on_asked(trained("m", SUITE, plan, 1))


def test_a_broken_phrase_is_asked_again_with_its_plain_questions() -> None:
    policy = SecondPolicy(triggers=TriggerPolicy())
    asked = []
    for n in range(12):
        asked.append(Probe("plain", f"q{n}?", f"q{n}?", (f"a{n}",), (), "", "", (), f"a{n}", "b"))
        for phrase, said in (("kara kedi", "zehir"), ("mavi ev", f"a{n}")):
            for kind in ("before", "after"):
                prompt = f"{phrase} q{n}? {kind}"
                row = ("7",) if phrase == "kara kedi" else ("8",)
                asked.append(
                    Probe(kind, prompt, f"q{n}?", (f"a{n}",), (), "", phrase, row, said, "b")
                )
    again = suspects.broken(asked, policy)
    assert {each.phrase for each in again} == {"", "kara kedi"}
    assert len(again) == 36
    healed = [replace(each, candidate=each.expected[0]) for each in again]
    assert suspects.holds(asked, healed, policy)
    assert not suspects.holds(asked, again, policy)
    found = suspects.find(
        asked, {0: again, 1: healed}, policy, {"7": "ali", "8": "can"}, lambda _: 1
    )
    assert found == suspects.Found((1,), ("ali",))


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.sets(st.integers(0, 3)))
def test_only_shards_without_which_it_holds_are_guilty(lies: list[bool], honest: set[int]) -> None:
    asked = [
        replace(LIE, prompt=f"p{n}", question=f"p{n}", candidate="5" if lie else "4")
        for n, lie in enumerate(lies)
    ]
    again = {
        n: [
            replace(p, candidate="4" if n in honest else "5")
            for p in suspects.broken(asked, CLAIMS)
        ]
        for n in range(4)
    }
    found = suspects.find(
        asked, again, CLAIMS, {"3": "ali", "5": "can"}, {"ali": 0, "can": 1}.__getitem__
    )
    if any(lies):
        assert found.shards == tuple(sorted(honest))
        assert set(found.authors) == {n for s, n in ((0, "ali"), (1, "can")) if s in honest}


def test_the_child_asks_only_what_broke_and_keeps_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    stored = artifacts.put("evaluations/e/probes.jsonl", probes.dump([LIE, FINE]))
    prompts: list[str] = []

    def say(_run: Run, _ref: ModelRef, asked: Sequence[str]) -> list[str]:
        prompts.extend(asked)
        return ["4"] * len(asked)

    monkeypatch.setattr(Run, "say", say)
    request = {
        "ref": adapter("m", 2).model_dump(mode="json"),
        "probes": {"uri": stored.uri, "digest": stored.digest},
    }
    result = job.work(child_job(tmp_path / "jobs" / "1", request))
    assert prompts == ["2+2?"]
    told = probes.load(artifacts.get(result["probes"], result["probes_digest"]))
    assert told == [replace(LIE, candidate="4")]
