"""An adapter that learned rows which were taken out is trained again without them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest_asyncio

from imece.events import AdapterTainted, DatasetPublished, DatasetRef, derived_id, new
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.database import Database
from imece.runtime.jobs import store as jobs
from imece.runtime.jobs.model import RetryPolicy, Succeeded
from imece.runtime.settings import Settings
from services.adapter import core, store
from services.adapter.app import build
from services.adapter.retrain import Retrains
from services.adapter.settings import AdapterSettings
from tests.unit.adapter.test_core import RESULT
from tests.unit.adapter.test_routes import World, asked


class Loop(World):
    """An adapter whose retraining loop moves when the test says so."""

    def __init__(self, folder: Path, wanted: bool = True) -> None:
        super().__init__(folder)
        settings = Settings(home=folder, cache=folder / "cache")
        own = AdapterSettings(retrain_tainted=wanted)
        self.service = build(settings, self.publish, own)
        self.artifacts = Artifacts(settings.artifacts_url())
        (self.retrains,) = (
            work.__self__
            for work in self.service.background
            if isinstance(getattr(work, "__self__", None), Retrains)
        )

    @property
    def database(self) -> Database:
        (database,) = self.service.resources
        assert isinstance(database, Database)
        return database

    def version(self, dataset: str, number: int, revoked: Sequence[str] = ()) -> DatasetRef:
        manifest = {
            "schema": 1,
            "dataset": dataset,
            "version": number,
            "rows": 3,
            "revoked": list(revoked),
            "parts": [],
        }
        stored = self.artifacts.put(f"{dataset}/{number}.json", canonical_json(manifest))
        return DatasetRef(dataset=dataset, version=number, digest=stored.digest, uri=stored.uri)

    async def publish_version(self, ref: DatasetRef) -> None:
        event = DatasetPublished(dataset=ref.dataset, ref=ref, rows=3, added=0, kinds={}, splits={})
        await self.receive(new(event, "imece/ingest"))

    async def train(self, *refs: DatasetRef) -> None:
        """Let the first request have succeeded on `refs`."""
        await self.receive(asked(datasets=refs))
        taken = self.database.transact(jobs.claim, "r", time.time(), 30.0, RetryPolicy())
        assert taken is not None
        ended = Succeeded(RESULT)
        self.database.transact(jobs.finish, taken[0], ended, time.time(), RetryPolicy())

    async def taint(self, *refs: DatasetRef, revoked: int = 2) -> None:
        event = AdapterTainted(
            model="m", adapter_digest=RESULT["digest"], datasets=refs, revoked=revoked
        )
        await self.receive(new(event, "imece/ingest"))

    def again(self) -> dict[str, Any] | None:
        job = self.database.transact(jobs.get, derived_id("retrain", RESULT["digest"]))
        return job.request if job else None


@pytest_asyncio.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    async with Loop(tmp_path) as world:
        yield world


async def test_it_waits_for_versions_without_the_rows_and_asks_for_the_rest_again(
    loop: Loop,
) -> None:
    one, other = loop.version("facts", 1), loop.version("chat", 4)
    await loop.train(one, other)
    await loop.taint(one, other)
    await loop.retrains.tick()
    assert loop.again() is None, "no version is newer"
    await loop.publish_version(loop.version("facts", 2, ["r1"]))
    await loop.retrains.tick()
    assert loop.again() is None, "one of two rows is still in"
    clean = loop.version("facts", 3, ["r1", "r2"])
    await loop.publish_version(clean)
    await loop.publish_version(loop.version("facts", 2, ["r1"]))  # late, and older
    await loop.retrains.tick()
    asked_again = loop.again()
    first = loop.database.transact(jobs.get, core.job_id(asked()))
    assert asked_again is not None
    assert first is not None
    assert asked_again["datasets"] == [clean.model_dump(), other.model_dump()]
    rest = {key: value for key, value in first.request.items() if key != "datasets"}
    assert {key: value for key, value in asked_again.items() if key != "datasets"} == rest


async def test_a_taint_is_lifted_once(loop: Loop) -> None:
    one = loop.version("facts", 1)
    await loop.train(one)
    await loop.publish_version(loop.version("facts", 2, ["r1", "r2"]))
    for _ in range(2):
        await loop.taint(one)
        await loop.retrains.tick()
    assert loop.database.transact(store.taints) == []
    assert len({state.job for state in loop.states()}) == 2


async def test_an_adapter_that_another_made_is_left_alone(loop: Loop) -> None:
    one = loop.version("facts", 1)
    await loop.publish_version(loop.version("facts", 2, ["r1", "r2"]))
    await loop.taint(one)
    await loop.retrains.tick()
    assert (loop.again(), loop.database.transact(store.taints)) == (None, [])


async def test_without_the_policy_nothing_is_trained_again(tmp_path: Path) -> None:
    async with Loop(tmp_path, wanted=False) as loop:
        one = loop.version("facts", 1)
        await loop.train(one)
        await loop.publish_version(loop.version("facts", 2, ["r1", "r2"]))
        await loop.taint(one)
        await loop.retrains.tick()
        assert loop.again() is None
