"""2,000 events while services are killed with -9 at random and the broker is restarted once."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest

from imece.client import Client
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
from imece.runtime.datasets import read, read_manifest
from tests.integration.conftest import LocalKafka
from tests.integration.herd import Herd, everything, send, until, until_committed, until_topics

pytestmark = pytest.mark.kafka
FEEDBACK, RECORDS, SEED = 1400, 600, 20261124
SERVICES = ("ingest", "feedback_guard")
SETS = ("set-0", "set-1", "set-2")


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
            record_set=SETS[n % 3],
            record=Instruction(prompt=f"What is {n} times 13?", response=f"It is {n * 13}."),
        )
        for n in range(RECORDS)
    ]
    events: list[Envelope[Event]] = [new(e, "chaos") for e in (*feedback, *records)]
    random.Random(SEED).shuffle(events)
    return events


async def _publish(client: Client, events: list[Envelope[Event]]) -> None:
    for at in range(0, len(events), 50):
        await send(client, *events[at : at + 50])
        await asyncio.sleep(1)


async def _kill(herd: Herd, name: str, done: asyncio.Event) -> int:
    """Kill a service time and again; a new one waits up to 10 s until Kafka lets the dead one go.

    So some kills hit a working service, some a waiting one.
    """
    dice, kills = random.Random(f"{SEED} {name}"), 0
    while not done.is_set():
        await asyncio.sleep(dice.uniform(1, 16))
        herd.kill(name)
        kills += 1
        await asyncio.sleep(dice.uniform(0, 1))
        herd.start(name)
    return kills


async def _restart(broker: LocalKafka) -> None:
    await asyncio.sleep(random.Random(SEED).uniform(10, 30))
    await asyncio.to_thread(broker.kill9)
    await asyncio.to_thread(broker.start)


async def test_nothing_is_lost_or_doubled_while_everything_is_killed(fresh_kafka, tmp_path):
    broker = fresh_kafka
    kafka = broker.address
    herd = Herd(tmp_path, kafka, IMECE_INGEST_LONGEST_SECONDS="3")  # several versions a set
    events, done = _events(), asyncio.Event()
    for name in SERVICES:
        herd.start(name)
    try:
        await until_topics(kafka, FeedbackSubmitted)
        async with Client(kafka, "chaos") as client:
            async with asyncio.TaskGroup() as group:
                killing = [group.create_task(_kill(herd, name, done)) for name in SERVICES]
                group.create_task(_restart(broker))
                await _publish(client, events)
                done.set()
            ends = [new(RecordSubmitted(record_set=name, ends_set=True), "chaos") for name in SETS]
            await send(client, *ends)
        await until_committed(kafka, "feedback-guard", FeedbackSubmitted)
        await until_committed(kafka, "ingest", RecordSubmitted, FeedbackDecided)
        await _until_all_records_are_published(kafka)
        herd.stop()
        decisions = await everything(kafka, FeedbackDecided)
        published = await everything(kafka, DatasetPublished)
    finally:
        herd.end()
    assert all(task.result() > 0 for task in killing)
    first = sorted(d.data.feedback for d in decisions if d.data.version == 1)
    wanted = [e.id for e in events if isinstance(e.data, FeedbackSubmitted)]
    assert first == sorted(wanted), "a feedback without a decision, or with two different ones"
    _each_record_is_in_exactly_one_version(
        Artifacts(str(tmp_path / "artifacts")),
        [event.data for event in published],
        [e.id for e in events if isinstance(e.data, RecordSubmitted)],
    )


async def _until_all_records_are_published(kafka: str) -> None:
    async def published() -> bool:
        newest: dict[str, int] = defaultdict(int)
        for event in await everything(kafka, DatasetPublished):
            name = event.data.dataset
            newest[name] = max(newest[name], event.data.rows)  # no record is ever taken out here
        return sum(newest[name] for name in SETS) == RECORDS

    await until(published)


def _each_record_is_in_exactly_one_version(
    artifacts: Artifacts, published: Sequence[DatasetPublished], records: Sequence[str]
) -> None:
    by_name: dict[str, list[DatasetPublished]] = defaultdict(list)
    for version in published:
        by_name[version.dataset].append(version)
    added = {name: _added(artifacts, versions) for name, versions in by_name.items()}
    found = [json.loads(row["origin"])["id"] for name in SETS for row in added[name]]
    assert sorted(found) == sorted(records)
    for name in SETS:
        newest = max(by_name[name], key=lambda data: data.ref.version)
        rows = read(artifacts, newest.ref)
        assert [row.row_id for row in rows] == [row["row_id"] for row in added[name]]


def _added(artifacts: Artifacts, versions: Sequence[DatasetPublished]) -> list[dict[str, Any]]:
    """Return the rows that versions of a data set introduced; each keeps all of its parent."""
    ordered = sorted(versions, key=lambda data: data.ref.version)
    assert [data.ref.version for data in ordered] == list(range(1, len(ordered) + 1))
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    parent = None
    for data in ordered:
        manifest = read_manifest(artifacts, data.ref)
        own = [part for part in manifest["parts"] if part["added_in"] == data.ref.version]
        assert manifest["parts"] == [*parts, *own]
        assert (data.parent, manifest["parent"]) == (parent, parent)
        for part in own:
            content = io.BytesIO(artifacts.get(part["uri"], part["digest"]))
            rows += pq.read_table(content).to_pylist()
        parts, parent = manifest["parts"], data.ref.digest
    ids = [row["row_id"] for row in rows]
    assert len(ids) == len(set(ids)), "a row that two versions introduce"
    return rows
