"""The gate as a process on a real Kafka: people who approve or deny, and a champion that fails.

The models are a loopback endpoint, so the whole way is real but the weights.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from imece.cli.main import app
from imece.client import Client
from imece.events import (
    AuditRecorded,
    CanaryReported,
    DatasetRef,
    Envelope,
    EvaluationCase,
    EvaluationPlan,
    EvaluationRequested,
    JobState,
    ModelRef,
    PromotionApproved,
    PromotionDecided,
    PromotionProposed,
    new,
)
from imece.runtime.artifacts import Artifacts
from services.evaluator.core import evaluation_id
from services.evaluator.settings import EvaluatorSettings
from tests.integration.herd import Herd, everything, send, until, until_committed, until_topics
from tests.training import publish
from tests.wire import said, wire

pytestmark = pytest.mark.kafka
PROBES, CASES = 20, 40
KNOWS = {"old": 0, "first": 20, "second": 40}


@dataclass
class Models:
    """What stands behind the endpoint: each knows so many answers, and all probes until spoilt."""

    spoilt: set[str] = field(default_factory=set)

    def answer(self, _: int, __: str, body: dict[str, Any]) -> bytes:
        kind, number = body["messages"][0]["content"].rstrip("?").split()
        name = body["model"]
        known = name not in self.spoilt if kind == "Probe" else int(number) < KNOWS[name]
        return said(f"{kind[0]}x{number}" if known else "bilmem")


@dataclass
class Gate:
    """An evaluator that runs, and what its topics say."""

    herd: Herd
    client: Client
    suite: DatasetRef
    models: Models

    @property
    def kafka(self) -> str:
        return self.herd.kafka

    async def evaluate(self, model: str, **plan: Any) -> str:
        """Ask for an evaluation, twice under one id; return the evaluation's id."""
        told = EvaluationPlan(suites=(self.suite,), decide=True, **plan)
        asked = new(EvaluationRequested(model=model, ref=ref(model), plan=told), "test")
        await send(self.client, asked, asked)
        return evaluation_id(asked)

    async def say(self, evaluation: str, by: str, *, approved: bool = True) -> None:
        """Say it twice under one id, and once more under another."""
        word = PromotionApproved(evaluation=evaluation, by=by, approved=approved)
        once = new(word, "test")
        await send(self.client, once, once, new(word, "test"))

    async def counts(self, evaluation: str, wins: int, losses: int) -> None:
        """Report what a canary counted, twice under one id."""
        told = CanaryReported(evaluation=evaluation, by="gateway", wins=wins, losses=losses)
        once = new(told, "test")
        await send(self.client, once, once)

    async def proposed(self, evaluation: str) -> PromotionProposed:
        await until(lambda: self._has(PromotionProposed, evaluation))
        (found,) = [e.data for e in await self._of(PromotionProposed, evaluation)]
        return found

    async def decided(self, evaluation: str) -> PromotionDecided:
        await until(lambda: self._has(PromotionDecided, evaluation))
        (found,) = [e.data for e in await self._of(PromotionDecided, evaluation)]
        return found

    async def settled(self) -> None:
        """Wait until nothing more will be read."""
        await until_committed(self.kafka, "evaluator", EvaluationRequested, PromotionApproved)
        await until_committed(self.kafka, "evaluator", CanaryReported)

    async def actions(self) -> list[str]:
        audits = [e.data for e in await everything(self.kafka, AuditRecorded)]
        return [audit.action for audit in audits if audit.action.startswith("promotion.")]

    async def cli(self, *arguments: str) -> Result:
        env = {"IMECE_HOME": str(self.herd.home), "IMECE_KAFKA": self.kafka}
        run = CliRunner().invoke
        return await asyncio.to_thread(run, app, ["gate", *arguments], env=env)

    async def _of(self, kind: Any, evaluation: str) -> list[Envelope[Any]]:
        return [e for e in await everything(self.kafka, kind) if e.data.evaluation == evaluation]

    async def _has(self, kind: Any, evaluation: str) -> bool:
        return bool(await self._of(kind, evaluation))


def ref(name: str) -> ModelRef:
    return ModelRef(name=name, base=f"endpoint:{name}")


@asynccontextmanager
async def gate(home: Path, kafka: str, more: str = "") -> AsyncIterator[Gate]:
    """Run an evaluator with the shipped policy and `more`."""
    policy = home / "policy.toml"
    policy.write_text(EvaluatorSettings().policy.read_text() + more)
    cases = [
        EvaluationCase(prompt=f"Probe {n}?", expected=(f"Px{n}",), slice="safe", guard=True)
        for n in range(PROBES)
    ] + [
        EvaluationCase(prompt=f"Soru {n}?", expected=(f"Sx{n}",), free_form=True)
        for n in range(CASES)
    ]
    suite = publish(Artifacts(str(home / "artifacts")), cases, dataset="suite", split="test")
    models = Models()
    async with wire(models.answer) as (url, _), Client(kafka, "test") as client:
        endpoints = {name: {"base_url": url, "model": name} for name in KNOWS}
        herd = Herd(
            home,
            kafka,
            IMECE_EVALUATOR_POLICY=str(policy),
            IMECE_EVALUATOR_ENDPOINTS=json.dumps(endpoints),
        )
        try:
            herd.start("evaluator")
            await until_topics(kafka, EvaluationRequested)
            yield Gate(herd, client, suite, models)
            assert herd.stop() == {"evaluator": 0}
            assert not herd.children()
        finally:
            herd.end()


async def test_two_people_promote_what_one_alone_does_not_and_a_kill_loses_no_word(
    fresh_kafka, tmp_path: Path
) -> None:
    async with gate(tmp_path, fresh_kafka.address, "\n[approval]\npeople = 2\nhours = 1\n") as at:
        id = await at.evaluate("first", baseline=ref("old"), requested_by="ayşe")
        waiting = await at.proposed(id)
        assert (waiting.people, waiting.requested_by) == (2, "ayşe")
        assert waiting.champion == ref("old")
        (row,) = json.loads((await at.cli("pending", "--json")).stdout)
        assert (row["evaluation"], row["model"], row["said"]) == (id, "first", "")
        own = await at.cli("approve", id, "--by", "AYŞE")
        assert (own.exit_code, "somebody else" in own.output) == (2, True)
        assert (await at.cli("approve", id, "--by", "mehmet")).exit_code == 0
        await at.say(id, "MEHMET")  # the same person
        await at.settled()
        assert await everything(at.kafka, PromotionDecided) == []
        at.herd.kill("evaluator")
        at.herd.start("evaluator")
        await at.say(id, "zeynep")
        decision = await at.decided(id)
        assert (decision.verdict, decision.champion) == ("promote", ref("first"))
        assert decision.approvals == ("mehmet", "zeynep")
        await at.say(id, "kemal", approved=False)  # too late
        await at.settled()
        assert len(await everything(at.kafka, PromotionDecided)) == 1
        assert await at.actions() == ["promotion.awaiting_approval", "promotion.promote"]
        late = await at.cli("approve", id, "--by", "kemal")
        assert (late.exit_code, "does not wait" in late.output) == (2, True)
        explained = await at.cli("explain", "first")
        assert explained.exit_code == 0, explained.output


async def test_one_denial_rejects_and_the_next_model_is_compared_with_what_served_before(
    fresh_kafka, tmp_path: Path
) -> None:
    async with gate(tmp_path, fresh_kafka.address, "\n[approval]\npeople = 1\nhours = 1\n") as at:
        id = await at.evaluate("first", baseline=ref("old"))
        await at.proposed(id)
        await at.say(id, "mehmet")
        assert (await at.decided(id)).verdict == "promote"
        id = await at.evaluate("second", requested_by="ayşe")
        waiting = await at.proposed(id)
        assert waiting.champion == ref("first")
        denied = await at.cli("deny", id, "--by", "ayşe", "--note", "yanlış veri")
        assert denied.exit_code == 0, denied.output
        decision = await at.decided(id)
        assert (decision.verdict, decision.champion) == ("reject", ref("first"))
        assert "yanlış veri" in decision.checks[-1].detail
        await at.say(id, "mehmet")  # too late
        await at.settled()
        assert len(await everything(at.kafka, PromotionDecided)) == 2


async def test_a_champion_that_breaks_a_check_is_rolled_back_once_and_without_a_word(
    fresh_kafka, tmp_path: Path
) -> None:
    async with gate(tmp_path, fresh_kafka.address) as at:
        for model, plan in (("first", {"baseline": ref("old")}), ("second", {})):
            id = await at.evaluate(model, **plan)
            decision = await at.decided(id)
            assert (decision.verdict, decision.champion) == ("promote", ref(model))
        at.models.spoilt.add("second")
        id = await at.evaluate("second")
        decision = await at.decided(id)
        assert (decision.verdict, decision.rolled_back) == ("reject", True)
        assert decision.champion == ref("first")
        assert {c.name for c in decision.checks if c.outcome == "failed"} >= {"guard"}
        await at.settled()
        at.herd.kill("evaluator")
        at.herd.start("evaluator")
        at.models.spoilt.clear()
        # Whole again, it has to win against the one that serves now, as any other candidate.
        decision = await at.decided(await at.evaluate("second"))
        assert (decision.verdict, decision.rolled_back) == ("promote", False)
        assert len(await everything(at.kafka, PromotionDecided)) == 4
        assert (await at.actions()).count("promotion.rollback") == 1
        last = {e.data.job: e.data.state for e in await everything(at.kafka, JobState)}
        assert list(last.values()) == ["succeeded"] * 4


async def test_a_challenger_is_champion_only_after_its_canary_and_a_kill_loses_no_count(
    fresh_kafka, tmp_path: Path
) -> None:
    live = '\n[canary]\nservice = "gateway"\nalpha = 0.05\nenough = 100\nhours = 1\n'
    async with gate(tmp_path, fresh_kafka.address, live) as at:
        id = await at.evaluate("first", baseline=ref("old"))
        waiting = await at.proposed(id)
        assert (waiting.canary, waiting.people) == ("gateway", 0)
        await at.counts(id, 40, 40)
        await at.settled()
        (row,) = json.loads((await at.cli("pending", "--json")).stdout)
        assert row["canary"] == "gateway: 40 better, 40 worse"
        assert await everything(at.kafka, PromotionDecided) == []
        at.herd.kill("evaluator")
        at.herd.start("evaluator")
        await at.counts(id, 12, 9)  # an old one, late
        await at.counts(id, 52, 48)
        decision = await at.decided(id)
        assert (decision.verdict, decision.champion) == ("promote", ref("first"))
        assert decision.checks[-1].numbers["wins"] == 52
        explained = await at.cli("explain", "first")
        assert explained.exit_code == 0, explained.output
