"""2,000 events while services are killed with -9 at random and the broker is restarted once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from imece.client import Client
from imece.errors import UnavailableError
from imece.events import (
    DatasetPublished,
    Envelope,
    Event,
    FeedbackDecided,
    FeedbackSubmitted,
    Instruction,
    RecordSubmitted,
    Thumb,
    new,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.datasets import read

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
FEEDBACK, RECORDS, SEED = 1400, 600, 20261124
SERVICES = ("ingest", "feedback_guard")


class Herd:
    """Service processes that are killed and started again."""

    def __init__(self, home: Path, kafka: str) -> None:
        self._home = home
        self._env = dict(os.environ, IMECE_HOME=str(home), IMECE_KAFKA=kafka)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self._home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=self._env, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _events() -> list[Envelope[Event]]:
    feedback = [
        FeedbackSubmitted(
            user=f"user-{n % 97}",
            response=f"answer-{n}",
            prompt=f"What is {n} + 1?",
            answer=f"The answer is {n + 1}.",
            signal=Thumb(up=True),
        )
        for n in range(FEEDBACK)
    ]
    records = [
        RecordSubmitted(
            record_set=f"set-{n % 3}",
            record=Instruction(prompt=f"What is {n} times 13?", response=f"It is {n * 13}."),
        )
        for n in range(RECORDS)
    ]
    events: list[Envelope[Event]] = [new(e, "chaos") for e in (*feedback, *records)]
    random.Random(SEED).shuffle(events)
    return events


async def _publish(client: Client, events: list[Envelope[Event]]) -> None:
    """Send again with the same ids until acknowledged, as an upstream system would."""
    for at in range(0, len(events), 50):
        while True:
            try:
                await client.publish(*events[at : at + 50])
                break
            except UnavailableError:
                await asyncio.sleep(1)
        await asyncio.sleep(0.15)


async def _chaos(herd: Herd, broker, done: asyncio.Event) -> Counter[str]:
    dice, kills = random.Random(SEED), Counter[str]()
    while not done.is_set():
        await asyncio.sleep(dice.uniform(1.0, 3.0))
        victim = dice.choice(SERVICES)
        herd.kill(victim)
        kills[victim] += 1
        if sum(kills.values()) == 3:
            await asyncio.to_thread(broker.kill9)
            await asyncio.to_thread(broker.start)
            kills["kafka"] += 1
        herd.start(victim)
    return kills


async def test_nothing_is_lost_or_doubled_while_everything_is_killed(fresh_kafka, tmp_path):
    broker = fresh_kafka
    herd = Herd(tmp_path, broker.address)
    events, done = _events(), asyncio.Event()
    for name in SERVICES:
        herd.start(name)
    try:
        await _until_topics(broker.address)
        async with Client(broker.address, "chaos") as client:
            killing = asyncio.create_task(_chaos(herd, broker, done))
            await _publish(client, events)
            done.set()
            kills = await killing
            await client.publish(
                *(RecordSubmitted(record_set=f"set-{n}", ends_set=True) for n in range(3))
            )
            decisions = await _decisions(client)
            rows = await _rows(client, Artifacts(str(tmp_path / "artifacts")))
    finally:
        herd.end()
    assert kills["kafka"] == 1
    wanted = {e.id for e in events if isinstance(e.data, FeedbackSubmitted)}
    assert {d.data.feedback for d in decisions} == wanted
    assert len(decisions) == FEEDBACK, "two different decisions about one feedback"
    ids = [row.origin["id"] for row in rows]
    assert sorted(ids) == sorted(e.id for e in events if isinstance(e.data, RecordSubmitted))


async def _until_topics(kafka: str) -> None:
    for _ in range(60):
        try:
            async with Client(kafka, "chaos") as client:
                async for _ in client.records(FeedbackSubmitted.topic.name, timeout=0.1):
                    break
            return
        except UnavailableError:
            await asyncio.sleep(0.5)
    raise AssertionError("the services created no topics")


async def _decisions(client: Client) -> list[Envelope[FeedbackDecided]]:
    found: list[Envelope[FeedbackDecided]] = []
    seen: set[str] = set()
    async for event in client.follow(FeedbackDecided, timeout=30):
        if event.data.version == 1:
            found.append(event)
            seen.add(event.data.feedback)
        if len(seen) == FEEDBACK:
            break
    return found


async def _rows(client: Client, artifacts: Artifacts):
    newest: dict[str, DatasetPublished] = {}
    async for event in client.follow(DatasetPublished, timeout=15):
        data = event.data
        if data.dataset.startswith("set-"):
            before = newest.get(data.dataset)
            if before is None or data.ref.version > before.ref.version:
                newest[data.dataset] = data
            if sum(d.rows for d in newest.values()) == RECORDS:
                break
    return [row for data in newest.values() for row in read(artifacts, data.ref)]
