"""Jobs are done and announced once while services, children and the broker are killed with -9."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
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
    Event,
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

pytestmark = [pytest.mark.kafka, pytest.mark.model]
SEED = 20261124
RESULTS: dict[str, type[Event]] = {"adapter": AdapterTrained, "trainer": ModelTrained}
KILLS = [
    *(("adapter", moment) for moment in ("any", "result", "announcement")),
    *(("trainer", moment) for moment in ("announcement", "announcement")),
    ("ingest", "any"),
    ("broker", "any"),
]
"""Who dies and when: a while after a job left its result, or at once when that is announced."""
CHILD_KILLS = 3
ENV = {"LEASE_SECONDS": "2", "CHECKPOINT_SECONDS": "0.2", "MAX_ATTEMPTS": "20"}
LORA = LoraRecipe(rank=2, epochs=10, batch_size=4)
SCRATCH = PretrainingRecipe(
    vocabulary=330, layers=1, hidden=16, heads=2, context=16, steps=300, batch_size=4
)


class Chaos:
    """Kills in a random order, at random moments where no other is named."""

    def __init__(self, herd: Herd, broker: LocalKafka) -> None:
        self.cut_off: list[Path] = []
        self._herd, self._broker = herd, broker
        self._dice = random.Random(SEED)
        self.children_killed: Counter[str] = Counter()

    async def run(self) -> None:
        children = asyncio.create_task(self._kill_children())
        await until(self._a_trainer_began)
        await self._kill_with_children("trainer")
        for victim, moment in self._dice.sample(KILLS, len(KILLS)):
            if moment == "announcement":
                await self._kill_while_it_announces(victim)
                continue
            if moment == "result":
                await self._until_a_result(victim)
            await asyncio.sleep(self._dice.uniform(0, 1 if moment == "result" else 5))
            if victim == "broker":
                await asyncio.to_thread(self._broker.kill9)
                await asyncio.to_thread(self._broker.start)
            else:
                await self._kill_with_children(victim)
        children.cancel()

    async def _a_trainer_began(self) -> bool:
        return bool(_beginners(self._herd.children("trainer")))

    async def _kill_children(self) -> None:
        dice = random.Random(f"{SEED} children")
        while self.children_killed.total() < CHILD_KILLS:
            await asyncio.sleep(dice.uniform(1, 8))
            self._kill_a_child()

    async def _kill_while_it_announces(self, name: str) -> None:
        """Kill between the result's event and all that has to follow it, or later."""
        topic = RESULTS[name].topic.name
        records = Client(self._herd.kafka, "chaos").records(topic, since=time.time(), timeout=25)
        async for _ in records:
            break
        self._herd.kill(name)
        self._herd.start(name)

    async def _kill_with_children(self, name: str) -> None:
        children = self._herd.children(name) if name in RESULTS else []
        self.cut_off += _beginners(children)
        self._herd.kill(name)
        self._herd.start(name)

        async def children_are_gone() -> bool:
            return not set(children) & set(self._herd.children())

        await until(children_are_gone)

    def _kill_a_child(self) -> None:
        """Kill one, but no job's third: each waits twice as long for its next attempt."""
        for child in self._herd.children():
            job = Path(child.info["cmdline"][-1]).parent.name
            if self.children_killed[job] < 2:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    self.children_killed[job] += 1
                    return

    async def _until_a_result(self, name: str) -> None:
        """Wait for a child that has finished just now, but not for ever."""
        folder = self._herd.home / "jobs" / name
        before = set(folder.glob("*/*/result.json"))
        for _ in range(750):
            if set(folder.glob("*/*/result.json")) - before:
                return
            await asyncio.sleep(0.02)


def _beginners(children: list[psutil.Process]) -> list[Path]:
    """Return the attempts that need seconds yet before they can leave a result."""
    attempts = [Path(child.info["cmdline"][-1]) for child in children]
    return [path for path in attempts if not (path / "progress.json").exists()]


def _requests(base: Path, ref: DatasetRef) -> list[Envelope[Any]]:
    asked: list[AdaptationRequested | TrainingRequested] = [
        AdaptationRequested(model=f"tuned-{n}", base=str(base), datasets=(ref,), recipe=LORA)
        for n in range(3)
    ]
    asked += [
        TrainingRequested(model=f"scratch-{n}", datasets=(ref,), recipe=SCRATCH) for n in range(3)
    ]
    return [new(each, "chaos") for each in asked]


async def test_each_job_is_done_and_announced_once_while_all_is_killed(
    fresh_kafka: LocalKafka,
    tmp_path: Path,
    tiny: Path,  # noqa: F811
) -> None:
    kafka = fresh_kafka.address
    env = {f"IMECE_{runner.upper()}_{key}": v for runner in RESULTS for key, v in ENV.items()}
    herd = Herd(tmp_path, kafka, **env)
    chaos = Chaos(herd, fresh_kafka)
    for name in ("ingest", *RESULTS):
        herd.start(name)
    try:
        await until_topics(kafka, RecordSubmitted)
        async with Client(kafka, "chaos") as client:
            requests = _requests(tiny, await _dataset(client, kafka))
            await send(client, *requests)
            await chaos.run()
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
    assert chaos.children_killed
    assert chaos.cut_off
    went_on = [path for path in chaos.cut_off if (path / "result.json").exists()]
    assert not went_on, "children outlived their killed service"
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
