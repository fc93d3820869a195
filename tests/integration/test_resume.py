"""An adapter job that is killed three times goes exactly the way it would have gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from imece.events import AdaptationRequested, Instruction, LoraRecipe
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest, store
from imece.runtime.jobs.runner import Jobs
from tests.integration.job_runner import make_database, make_jobs
from tests.integration.test_jobs import CAUSE
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture
from tests.processes import command
from tests.training import WORDS, publish

pytestmark = pytest.mark.model
ROWS = [Instruction(prompt=f"{a} {b}?", response=b) for a in WORDS for b in WORDS]
RECIPE = LoraRecipe(rank=2, dropout=0.1, epochs=8, batch_size=4, max_length=128)


class Place:
    """The adapter's child module on a queue without a broker."""

    def __init__(self, home: Path, database: Database) -> None:
        self.home, self.database = home, database
        env = {"IMECE_HOME": str(home), "IMECE_ADAPTER_CHECKPOINT_SECONDS": "0.05"}
        self.jobs: Jobs = make_jobs(
            database,
            self._published,
            home / "jobs",
            module="services.adapter.job",
            results=lambda *_: (),
            max_attempts=10,
            env={**env, "IMECE_ADAPTER_DTYPE": "float32", "OMP_NUM_THREADS": "1"},
        )

    async def _published(self, *_: object) -> None:
        """There is nobody to tell."""

    async def run(self, name: str, request: dict[str, Any], kills: int) -> Job:
        """Run a job to its end; kill its child after each of `kills` later checkpoints."""
        await self.jobs.submit(CAUSE, JobRequest(id=name, model="m", request=request))
        stop = asyncio.Event()
        running = asyncio.create_task(self.jobs.run(stop))
        reached = 0
        for number in range(1, kills + 1):
            reached = await self._kill_after(name, reached, number)
        job = await self._until(name, lambda job: job.state == "succeeded")
        stop.set()
        await running
        return job

    async def _kill_after(self, name: str, reached: int, number: int) -> int:
        """Kill the child once it has a checkpoint beyond `reached`; return that one's step."""
        while True:
            found = (self.home / "jobs" / name).glob("*/checkpoints/step-*")
            step = max((int(path.name[5:]) for path in found), default=0)
            if step > reached and (child := self._child(name)) is not None:
                child.kill()  # its runner, this process, reaps it
                await self._until(name, lambda job: job.failures == number)
                return step
            await asyncio.sleep(0.02)

    async def _until(self, name: str, what: Callable[[Job], bool]) -> Job:
        while True:
            job = await self.database.run(store.get, name)
            assert job is not None
            assert job.state != "failed", job.failure
            if what(job):
                return job
            await asyncio.sleep(0.05)

    def _child(self, name: str) -> psutil.Process | None:
        attempts = str(self.home / "jobs" / name)
        found = psutil.Process().children()
        return next((p for p in found if attempts in " ".join(command(p))), None)


async def test_the_losses_of_a_job_killed_three_times_equal_those_of_an_unbroken_run(
    tmp_path: Path,
    tiny: Path,  # noqa: F811
) -> None:
    ref = publish(Artifacts(str(tmp_path / "artifacts")), ROWS)
    asked = AdaptationRequested(model="m", base=str(tiny), datasets=(ref,), recipe=RECIPE)
    request = asked.model_dump(mode="json", exclude_none=True)
    async with make_database(f"sqlite:///{tmp_path}/jobs.db") as database:
        place = Place(tmp_path, database)
        unbroken = await place.run("unbroken", request, kills=0)
        killed = await place.run("killed", request, kills=3)
    assert killed.result is not None
    assert unbroken.result is not None
    assert (killed.failures, killed.token) == (3, 4)
    assert killed.result["metrics"]["resumed_from"] > 0
    assert len(killed.result["losses"]) == 200
    assert killed.result["losses"] == unbroken.result["losses"]
