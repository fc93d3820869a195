"""Guard and judge as processes on a real Kafka: a blind model speaks, the judge is killed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from imece.cli.main import app
from imece.client import Client
from imece.events import (
    Correction,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    JudgementCompleted,
    JudgementRequested,
    OpinionGiven,
    ReviewRequested,
    new,
)
from services.feedback_guard import whatif
from services.feedback_guard.policy import load
from services.feedback_guard.replay import item_of
from tests.integration.herd import Herd, everything, send, until, until_committed, until_topics
from tests.unit.feedback_guard.policies import FILE
from tests.wire import http, said, wire

pytestmark = pytest.mark.kafka
SECRET = "trust me, my uncle cooks there"


@dataclass
class Oracle:
    """A model behind an endpoint that is down at first and then prefers Zeynep wherever she is."""

    up: bool = False

    def answer(self, _: int, __: str, body: dict[str, Any]) -> bytes:
        if not self.up:
            return http("down", status=503)
        fence, _, rest = body["messages"][1]["content"].partition("\n")
        shown = json.loads(rest.partition("\n" + fence)[0])
        return said(json.dumps({"winner": "first" if "Zeynep" in shown["first"] else "second"}))


async def test_a_blind_model_is_asked_over_kafka_and_a_replay_decides_the_same(
    fresh_kafka, tmp_path: Path
):
    home, policy = tmp_path / "home", tmp_path / "policy.toml"
    home.mkdir()
    text = FILE.read_text("utf-8").replace("judges = []", 'judges = ["oracle"]')
    policy.write_text(text.replace('trained_on = "" ', 'trained_on = "trusted" '), "utf-8")
    oracle = Oracle()

    async def fetched(kind: Any) -> list[Any]:
        return await everything(fresh_kafka.address, kind)

    async def decided() -> bool:
        return bool(await fetched(FeedbackDecided))

    async def asked() -> bool:
        return len(calls) > 0

    async def told() -> bool:
        return bool(await fetched(JudgementCompleted))

    async def accepted() -> bool:
        return any(e.data.verdict == "accept" for e in await fetched(FeedbackDecided))

    async with (
        wire(oracle.answer) as (url, calls),
        Client(fresh_kafka.address, "tests") as client,
    ):
        herd = Herd(
            home,
            fresh_kafka.address,
            IMECE_FEEDBACK_GUARD_POLICY=str(policy),
            IMECE_LLM_JUDGE_BASE_URL=url,
            IMECE_LLM_JUDGE_MODEL="oracle",
            IMECE_LLM_JUDGE_PROBES="0",
            IMECE_LLM_JUDGE_DEADLINE_SECONDS="5",
        )
        try:
            herd.start("feedback_guard")
            herd.start("llm_judge")
            await until_topics(fresh_kafka.address, JudgementCompleted)
            await until_topics(fresh_kafka.address, OpinionGiven)
            data = FeedbackSubmitted(
                user="ayşe",
                response="r",
                prompt="Who runs our canteen?",
                answer="Ali Bey.",
                signal=Correction(text="Zeynep Hanım"),
                comment=SECRET,
                account_created=datetime.now(UTC) - timedelta(days=400),
            )
            correction = new(data, "upstream")
            await send(client, correction, correction)
            await until(decided)  # without the model's answer
            await until(asked)
            herd.kill("llm_judge")
            oracle.up = True
            herd.start("llm_judge")
            await until(told)
            for number in range(4):
                word = OpinionGiven(item=item_of(correction), user=f"u{number}", right=True)
                await send(client, new(word, "upstream"))
            await until(accepted)
            await until_committed(
                fresh_kafka.address, "feedback-guard", FeedbackSubmitted, FeedbackScored
            )
            assert herd.stop() == {"feedback_guard": 0, "llm_judge": 0}
        finally:
            herd.end()
    assert SECRET not in json.dumps(calls)
    assert "ayşe" not in json.dumps(calls, ensure_ascii=False)
    requests, verdicts = await fetched(JudgementRequested), await fetched(JudgementCompleted)
    assert len(requests) == len(verdicts) == 1
    assert all(e.data.item.startswith("feedback:") for e in await fetched(ReviewRequested))
    log = [correction, *verdicts, *await fetched(OpinionGiven)]
    log.sort(key=lambda event: event.time)
    last = max((e.data for e in await fetched(FeedbackDecided)), key=lambda d: d.version)
    again = whatif.run(load(policy), log, {})[correction.id]
    assert (again.verdict, again.reasons) == (last.verdict, last.reasons)
    assert "blind_reference" in {reason.code for reason in last.reasons}
    env = {"IMECE_HOME": str(home), "IMECE_KAFKA": fresh_kafka.address}
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    asked = ["guard", "bounds", "--confirmed", "--since", yesterday, "--json"]
    shown = await asyncio.to_thread(CliRunner().invoke, app, asked, env=env)
    bounds = {row["segment"]: row for row in json.loads(shown.stdout)}
    assert {"all", "kind:correction", "account:old"} <= bounds.keys()
    assert (bounds["all"]["honest"], bounds["all"]["rejected"]) == (1, 0)
    assert bounds["all"]["note"].startswith("too few")
