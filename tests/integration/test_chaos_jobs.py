"""Jobs are done and announced once while services, children and the broker are killed with -9."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from imece.client import Client
from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    DatasetPublished,
    DatasetRef,
    Envelope,
    Instruction,
    JobState,
    LoraRecipe,
    ModelTrained,
    PretrainingRecipe,
    RecordSubmitted,
    TrainingRequested,
    new,
)
from imece.runtime.artifacts import Artifacts
from tests.integration.conftest import LocalKafka
from tests.integration.herd import Herd, everything, send, until, until_committed, until_topics
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture
from tests.training import WORDS

pytestmark = [pytest.mark.kafka, pytest.mark.model, pytest.mark.timeout(600)]
SEED = 20261124
RUNNERS = ("adapter", "trainer")
KILLS = {"adapter": 3, "trainer": 2, "child": 3, "ingest": 1, "broker": 1}
ENV = {"LEASE_SECONDS": "2", "CHECKPOINT_SECONDS": "0.2", "MAX_ATTEMPTS": "20"}
LORA = LoraRecipe(rank=2, epochs=10, batch_size=4)
SCRATCH = PretrainingRecipe(
    vocabulary=330, layers=1, hidden=16, heads=2, context=16, steps=300, batch_size=4
)


class Chaos:
    """Kills in a random order at random moments, some of them just after a job's result."""

    def __init__(self, herd: Herd, broker: LocalKafka) -> None:
        self._herd, self._broker = herd, broker
        self._dice = random.Random(SEED)
        self._hit: Counter[str] = Counter()

    async def run(self) -> None:
        order = [victim for victim, times in KILLS.items() for _ in range(times)]
        self._dice.shuffle(order)
        for victim in order:
            if victim in RUNNERS and self._dice.random() < 0.5:
                await self._until_a_result(victim)
                await asyncio.sleep(self._dice.uniform(0, 1.5))
            else:
                await asyncio.sleep(self._dice.uniform(0.5, 5))
            await self._strike(victim)

    async def _strike(self, victim: str) -> None:
        if victim == "broker":
            await asyncio.to_thread(self._broker.kill9)
            await asyncio.to_thread(self._broker.start)
        elif victim == "child":
            await until(self._killed_a_child)
        else:
            children = self._herd.children(victim) if victim in RUNNERS else []
            self._herd.kill(victim)
            self._herd.start(victim)

            async def children_died_with_it() -> bool:
                return not set(children) & set(self._herd.children())

            await until(children_died_with_it, 30)

    async def _killed_a_child(self) -> bool:
        """Kill one, but no job's third: each waits twice as long for its next attempt."""
        for child in self._herd.children():
            job = Path(child.info["cmdline"][-1]).parent.name
            if self._hit[job] < 2:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    self._hit[job] += 1
                    return True
        return False

    async def _until_a_result(self, name: str) -> None:
        """Wait for a child that has just finished, but not for ever."""
        folder = self._herd.home / "jobs" / name
        before = set(folder.glob("*/*/result.json"))
        for _ in range(500):
            if set(folder.glob("*/*/result.json")) - before:
                return
            await asyncio.sleep(0.02)


def _requests(base: Path, ref: DatasetRef) -> list[Envelope[Any]]:
    asked: list[AdaptationRequested | TrainingRequested] = [
        AdaptationRequested(model=f"tuned-{n}", base=str(base), datasets=(ref,), recipe=LORA)
        for n in range(3)
    ]
    asked += [
        TrainingRequested(model=f"scratch-{n}", datasets=(ref,), recipe=SCRATCH) for n in range(2)
    ]
    return [new(each, "chaos") for each in asked]


async def test_each_job_is_done_and_announced_once_while_all_is_killed(
    fresh_kafka: LocalKafka,
    tmp_path: Path,
    tiny: Path,  # noqa: F811
) -> None:
    kafka = fresh_kafka.address
    env = {f"IMECE_{runner.upper()}_{key}": v for runner in RUNNERS for key, v in ENV.items()}
    herd = Herd(tmp_path, kafka, **env)
    for name in ("ingest", *RUNNERS):
        herd.start(name)
    try:
        await until_topics(kafka, RecordSubmitted)
        async with Client(kafka, "chaos") as client:
            requests = _requests(tiny, await _dataset(client, kafka))
            await send(client, *requests)
            await Chaos(herd, fresh_kafka).run()
            await send(client, *requests)  # as a sender does that heard no acknowledgement
        await until_committed(kafka, "adapter", AdaptationRequested)
        await until_committed(kafka, "trainer", TrainingRequested)
        await _until_over(kafka, len(requests))
        assert set(herd.stop().values()) == {0}
        states = await everything(kafka, JobState)
        made: list[Envelope[Any]] = [*await everything(kafka, AdapterTrained)]
        made += await everything(kafka, ModelTrained)
    finally:
        herd.end()
    assert not herd.children()
    models = sorted(request.data.model for request in requests)
    last = _last([state.data for state in states])
    assert sorted(state.model for state in last.values()) == models
    assert {(state.state, state.failure) for state in last.values()} == {("succeeded", None)}
    assert sum(state.attempt for state in last.values()) > len(models), "no kill hit a job"
    ended = [state.data.job for state in states if state.data.state == "succeeded"]
    assert sorted(ended) == sorted(last)
    assert sorted(event.data.model for event in made) == models, "announced twice, or never"
    _all_are_stored(Artifacts(str(tmp_path / "artifacts")), made, tmp_path / "copies")


async def _dataset(client: Client, kafka: str) -> DatasetRef:
    """Let ingest make a data set of which both adapters and models can be trained."""
    pairs = [(a, b) for a in WORDS for b in WORDS[:4]]
    records = [
        RecordSubmitted(
            record_set="facts",
            record=Instruction(prompt=f"{a} + {b}?", response=f"{b} {a}"),
            ends_set=(a, b) == pairs[-1],
        )
        for a, b in pairs
    ]
    await send(client, *(new(record, "chaos") for record in records))
    found: list[DatasetRef] = []

    async def published() -> bool:
        found[:] = [event.data.ref for event in await everything(kafka, DatasetPublished)]
        return bool(found)

    await until(published)
    return found[0]


async def _until_over(kafka: str, jobs: int) -> None:
    async def over() -> bool:
        states = _last([event.data for event in await everything(kafka, JobState)])
        return sum(s.state in ("succeeded", "failed") for s in states.values()) == jobs

    await until(over)


def _last(states: list[JobState]) -> dict[str, JobState]:
    """Return the newest state of each job."""
    return {state.job: state for state in sorted(states, key=lambda state: state.version)}


def _all_are_stored(artifacts: Artifacts, made: list[Envelope[Any]], copies: Path) -> None:
    for event in made:
        if isinstance(event.data, AdapterTrained):
            uri, digest = event.data.ref.adapter, event.data.ref.adapter_digest
        else:
            uri, digest = event.data.uri, event.data.digest
        assert list(artifacts.fetch_folder(uri or "", digest or "", copies).glob("*.safetensors"))
