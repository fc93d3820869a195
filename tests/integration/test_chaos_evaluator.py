"""Evaluations and judgements while evaluator and llm-judge are killed with -9 at random."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from imece.client import Client
from imece.events import (
    EvaluationCase,
    EvaluationCompleted,
    EvaluationPlan,
    EvaluationRequested,
    JobState,
    JudgementCompleted,
    JudgementRequested,
    ModelRef,
    PromotionDecided,
    new,
)
from imece.runtime.artifacts import Artifacts
from tests.integration.herd import Herd, everything, send, until, until_topics
from tests.integration.test_judge_endpoint import said, stub
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture
from tests.training import publish

pytestmark = [pytest.mark.kafka, pytest.mark.model]
MODELS, KILLS, SEED = 3, 3, 20261124


async def _kills(herd: Herd, name: str, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(2, 9))
        herd.kill(name)
        herd.start(name)


def _requests(home: Path, base: Path) -> list[EvaluationRequested]:
    cases = [
        EvaluationCase(prompt="2+2?", expected=("4",), slice="sum", guard=True),
        EvaluationCase(prompt="Türkiye'nin başkenti?", expected=("Ankara",), free_form=True),
        EvaluationCase(prompt="Who are you?", expected=("nobody",), free_form=True),
    ]
    suite = publish(Artifacts(str(home / "artifacts")), cases, dataset="suite", split="test")
    other = ModelRef(name="other", base=str(_other(home, base)))
    plan = EvaluationPlan(suites=(suite,), baseline=other, decide=True, judge_items=2)
    return [
        EvaluationRequested(model=f"m{n}", ref=ModelRef(name=f"m{n}", base=str(base)), plan=plan)
        for n in range(MODELS)
    ]


def _other(home: Path, base: Path) -> Path:
    """Make a model that answers otherwise: the same one with its weights upside down."""
    folder = home / "other"
    shutil.copytree(base, folder)
    for path in folder.glob("*.safetensors"):
        save_file({name: -tensor for name, tensor in load_file(path).items()}, path)
    return folder


async def test_each_model_gets_one_evaluation_and_one_verdict_of_the_gate(
    fresh_kafka,
    tmp_path: Path,
    tiny: Path,  # noqa: F811
):
    kafka = fresh_kafka.address
    async with stub(lambda *_: said(json.dumps({"winner": "first"}))) as (url, _):
        herd = Herd(
            tmp_path,
            kafka,
            IMECE_LLM_JUDGE_BASE_URL=url,
            IMECE_LLM_JUDGE_MODEL="stub",
            IMECE_EVALUATOR_LEASE_SECONDS="3",
            IMECE_EVALUATOR_MAX_NEW_TOKENS="4",
        )
        try:
            for name in ("evaluator", "llm_judge"):
                herd.start(name)
            await until_topics(kafka, EvaluationRequested)
            asked = [new(request, "chaos") for request in _requests(tmp_path, tiny)]
            async with Client(kafka, "chaos") as client:
                killing = asyncio.gather(
                    _kills(herd, "evaluator", SEED), _kills(herd, "llm_judge", SEED + 1)
                )
                await send(client, *asked, *asked)  # the second time changes nothing
                await killing
                await until(lambda: _decided(kafka), 240)
            codes = herd.stop()
        finally:
            herd.end()
    models = [f"m{n}" for n in range(MODELS)]
    done = await everything(kafka, EvaluationCompleted)
    assert sorted(event.data.model for event in done) == models
    assert [event.data.failure for event in done] == [None] * MODELS
    decisions = await everything(kafka, PromotionDecided)
    assert sorted(event.data.model for event in decisions) == models
    wanted = Counter(e.data.item for e in await everything(kafka, JudgementRequested))
    judged = Counter(e.data.item for e in await everything(kafka, JudgementCompleted))
    assert judged == wanted
    assert sum(wanted.values()) == 2 * MODELS
    last = {e.data.job: e.data for e in await everything(kafka, JobState)}
    assert [state.state for state in last.values()] == ["succeeded"] * MODELS
    assert set(codes.values()) == {0}
    assert not herd.children()


async def _decided(kafka: str) -> bool:
    return len(await everything(kafka, PromotionDecided)) >= MODELS
