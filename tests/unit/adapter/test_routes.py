"""The adapter's handlers on a real SQLite file, a list instead of a broker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imece.errors import RejectedError
from imece.events import (
    AdaptationRequested,
    Envelope,
    Event,
    JobCancelRequested,
    JobState,
    LoraRecipe,
    new,
)
from imece.runtime.app import Service
from imece.runtime.database import Database
from imece.runtime.jobs import store
from imece.runtime.settings import Settings
from services.adapter import core
from services.adapter.app import build
from services.adapter.settings import AdapterSettings
from tests.unit.adapter.test_core import requested


class World:
    """One adapter whose background loop does not run."""

    def __init__(self, folder: Path) -> None:
        self.published: list[Envelope[Any]] = []
        settings = Settings(home=folder, cache=folder / "cache")
        self.service: Service = build(settings, self.publish, AdapterSettings())

    async def __aenter__(self) -> World:
        for resource in self.service.resources:
            await resource.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for resource in self.service.resources:
            await resource.__aexit__(None, None, None)

    async def publish(self, *events: Envelope[Any]) -> None:
        self.published.extend(events)

    async def receive(self, *events: Envelope[Any]) -> None:
        by_event: dict[type[Event], Any] = {s.event: s.handle for s in self.service.subscriptions}
        for event in events:
            await by_event[type(event.data)]([event])

    def state(self, job_id: str) -> str | None:
        (database,) = self.service.resources
        assert isinstance(database, Database)
        job = database.transact(store.get, job_id)
        return job.state if job else None

    def states(self) -> Sequence[JobState]:
        return [e.data for e in self.published if isinstance(e.data, JobState)]


def asked(id: str = "1", **fields: Any) -> Envelope[AdaptationRequested]:
    return Envelope(requested(**fields), id, "app", datetime(2026, 5, 4, tzinfo=UTC))


async def test_a_redelivered_request_makes_one_job_with_the_first_content(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(), asked(), asked(recipe=LoraRecipe(rank=99)))
        (state,) = {(s.job, s.state, s.version, s.kind) for s in world.states()}
        assert state == (core.job_id(asked()), "queued", 1, "adaptation")
        assert len({e.id for e in world.published}) == 1


async def test_two_requests_for_one_model_make_two_jobs(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked("1"), asked("2"))
        assert len({s.job for s in world.states()}) == 2


async def test_a_bad_request_is_rejected_and_leaves_no_job(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        with pytest.raises(RejectedError):
            await world.receive(asked(base="gpt2"))
        assert world.published == []


async def test_a_waiting_job_is_cancelled_on_request_and_strangers_are_ignored(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked())
        await world.receive(new(JobCancelRequested(job="someone-elses"), "app"))
        await world.receive(new(JobCancelRequested(job=core.job_id(asked())), "app"))
        await world.receive(asked())
        assert world.state(core.job_id(asked())) == "cancelled"
