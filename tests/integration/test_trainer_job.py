"""The whole way in real child processes: a model from scratch, then an adapter for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    DatasetRef,
    Envelope,
    Instruction,
    JobState,
    LoraRecipe,
    ModelTrained,
    PretrainingRecipe,
    TrainingRequested,
    new,
)
from imece.local.models import resolve
from imece.runtime.app import Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.settings import Settings
from services.adapter.app import build as build_adapter
from services.trainer.app import build as build_trainer
from tests.training import WORDS, documents, publish

RECIPE = PretrainingRecipe(
    vocabulary=330,
    layers=1,
    hidden=16,
    heads=2,
    context=16,
    steps=30,
    batch_size=4,
    learning_rate=1e-2,
)


class World:
    """One service without a broker: what it publishes is kept in a list."""

    def __init__(self, build: Any, settings: Settings) -> None:
        self.published: list[Envelope[Any]] = []
        self.over = asyncio.Event()
        self.service: Service = build(settings, self.publish)

    async def publish(self, *events: Envelope[Any]) -> None:
        self.published.extend(events)
        if any(state.state in ("succeeded", "failed") for state in self._states()):
            self.over.set()

    async def ask(
        self, request: Envelope[Any], until: Callable[[], bool] = lambda: False
    ) -> JobState:
        """Hand over a request, let the service run and return the last state of its job.

        With `until` the service is stopped as soon as that holds, as by SIGTERM.
        """
        (database,) = self.service.resources
        stop = asyncio.Event()
        async with database:
            await self.service.subscriptions[0].handle([request])
            running = asyncio.gather(*(work(stop) for work in self.service.background))
            try:
                while not until() and not self.over.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.over.wait(), 0.05)
            finally:
                stop.set()
                await running
        return self.last()

    def last(self) -> JobState:
        return self._states()[-1]

    def _states(self) -> list[JobState]:
        return [e.data for e in self.published if isinstance(e.data, JobState)]

    def made(self, kind: type[Any]) -> Any:
        (event,) = {e.id: e.data for e in self.published if isinstance(e.data, kind)}.values()
        return event


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache", artifacts=None)


@pytest.fixture
def artifacts(settings: Settings) -> Artifacts:
    return Artifacts(settings.artifacts_url())


async def test_a_model_from_scratch_learns_loads_and_can_be_adapted(
    settings: Settings, artifacts: Artifacts
) -> None:
    trainer = World(build_trainer, settings)
    ref = publish(artifacts, documents(60), dataset="docs")
    request = TrainingRequested(model="tiny", datasets=(ref,), recipe=RECIPE)
    state = await trainer.ask(new(request, "test"))
    assert (state.state, state.failure) == ("succeeded", None)
    model = trainer.made(ModelTrained)
    assert model.metrics["final_loss"] < model.metrics["first_loss"] - 1
    folder = artifacts.fetch_folder(model.uri, model.digest, settings.cache / "artifacts")
    AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    assert AutoTokenizer.from_pretrained(folder).decode([0]) == "<|endoftext|>"

    adapter = World(build_adapter, settings)
    rows = [Instruction(prompt=f"{a} {b}?", response=b) for a in WORDS for b in WORDS]
    adaptation = AdaptationRequested(
        model="tiny-tuned",
        base=model.uri,
        datasets=(publish(artifacts, rows),),
        recipe=LoraRecipe(rank=2, epochs=3),
    )
    state = await adapter.ask(new(adaptation, "test"))
    assert (state.state, state.failure) == ("succeeded", None)
    trained = adapter.made(AdapterTrained)
    assert trained.metrics["final_loss"] < trained.metrics["first_loss"]
    assert trained.ref.base_digest == f"sha256:{resolve(model.uri, settings.cache).digest}"


async def test_a_job_of_a_stopped_trainer_goes_on_from_its_checkpoint_in_the_next(
    settings: Settings, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, documents(60), dataset="docs")
    recipe = RECIPE.model_copy(update={"steps": 400})
    request = new(TrainingRequested(model="tiny", datasets=(ref,), recipe=recipe), "test")
    first, second = World(build_trainer, settings), World(build_trainer, settings)
    reports = settings.home / "jobs" / "trainer"
    state = await first.ask(request, until=lambda: any(reports.rglob("progress.json")))
    assert state.state == "queued"
    state = await second.ask(request)
    assert (state.state, state.failure, state.attempt) == ("succeeded", None, 2)
    metrics = second.made(ModelTrained).metrics
    assert 0 < metrics["resumed_from"] < metrics["steps"] == 400
    assert not list(reports.rglob("*.safetensors"))


async def test_a_vanished_data_set_is_a_named_failure_of_the_job(settings: Settings) -> None:
    gone = DatasetRef(
        dataset="docs",
        version=1,
        digest=f"sha256:{1:064x}",
        uri=f"{Artifacts(settings.artifacts_url()).root}/gone.json",
    )
    trainer = World(build_trainer, settings)
    request = TrainingRequested(model="tiny", datasets=(gone,), recipe=RECIPE)
    state = await trainer.ask(new(request, "test"))
    assert state.state == "failed"
    assert state.failure is not None
    assert state.failure.reason == "dataset_missing"
    assert state.attempt == 1
