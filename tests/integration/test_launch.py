"""One training or tuning over several processes of this machine, through torchrun on the CPU."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from imece.events import (
    AdaptationRequested,
    Instruction,
    JobCancelRequested,
    LoraRecipe,
    PretrainingRecipe,
    TrainingRequested,
    new,
)
from imece.runtime import ranks
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest, launch, store
from imece.runtime.jobs.runner import Jobs
from tests.integration import together
from tests.integration.job_runner import make_database, make_jobs
from tests.integration.test_jobs import CAUSE, running
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture
from tests.processes import command
from tests.training import WORDS, documents, publish

pytestmark = pytest.mark.model
RECIPE = PretrainingRecipe(
    vocabulary=330, layers=1, hidden=16, heads=2, context=16, steps=40, batch_size=5
)


TUNING = LoraRecipe(rank=2, dropout=0, epochs=6, batch_size=5, max_length=128)


class Place:
    """The child module of a service on a queue without a broker."""

    def __init__(self, home: Path, database: Database, service: str) -> None:
        self.home, self.database = home, database
        prefix = f"IMECE_{service.upper()}"
        env = {"IMECE_HOME": str(home), f"{prefix}_CHECKPOINT_SECONDS": "0.05"}
        self.jobs: Jobs = make_jobs(
            database,
            self._published,
            home / "jobs",
            module=f"services.{service}.job",
            results=lambda *_: (),
            env={**env, f"{prefix}_DTYPE": "float32", "OMP_NUM_THREADS": "1"},
        )

    async def _published(self, *_: object) -> None:
        """There is nobody to tell."""

    async def submit(self, name: str, **request: Any) -> None:
        ref = publish(Artifacts(str(self.home / "artifacts")), documents(60), dataset="docs")
        recipe = RECIPE.model_copy(update=request.pop("recipe", {}))
        await self.queue(
            name, TrainingRequested(model="m", datasets=(ref,), recipe=recipe, **request)
        )

    async def tune(self, name: str, base: Path, **request: Any) -> None:
        rows = [Instruction(prompt=f"{a} {b}?", response=b) for a in WORDS for b in WORDS]
        ref = publish(Artifacts(str(self.home / "artifacts")), rows)
        asked = AdaptationRequested(model="m", base=str(base), datasets=(ref,), **request)
        await self.queue(name, asked)

    async def queue(self, name: str, asked: TrainingRequested | AdaptationRequested) -> None:
        stored = asked.model_dump(mode="json", exclude_none=True)
        await self.jobs.submit(CAUSE, JobRequest(id=name, model="m", request=stored))

    async def until(self, name: str, *states: str) -> Job:
        while True:
            job = await self.database.run(store.get, name)
            assert job is not None
            if job.state in states:
                return job
            await asyncio.sleep(0.05)

    def workers(self, name: str) -> list[psutil.Process]:
        """Return the processes that train, without the torchrun that started them."""
        attempts = str(self.home / "jobs" / name)
        found = [p for p in psutil.process_iter() if attempts in " ".join(command(p))]
        return [p for p in found if "torch.distributed.run" not in " ".join(command(p))]

    async def checkpoint(self, name: str) -> None:
        while True:
            if list((self.home / "jobs" / name).glob("*/checkpoints/step-*")):
                return
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with make_database(f"sqlite:///{tmp_path}/jobs.db") as database:
        yield Place(tmp_path, database, "trainer")


@pytest_asyncio.fixture
async def adapter(tmp_path: Path) -> AsyncIterator[Place]:
    async with make_database(f"sqlite:///{tmp_path}/jobs.db") as database:
        yield Place(tmp_path, database, "adapter")


async def test_two_processes_take_the_steps_of_one_even_if_one_of_them_is_lost(
    place: Place,
) -> None:
    await place.submit("one", recipe={"steps": 200})
    await place.submit("two", devices=2, recipe={"steps": 200})
    await place.jobs.run_once()
    attempt = asyncio.create_task(place.jobs.run_once())
    await place.checkpoint("two")
    workers = place.workers("two")
    assert len(workers) == 2
    os.kill(workers[-1].pid, signal.SIGKILL)
    waiting = await attempt
    async with running(place.jobs):
        one = await place.until("one", "succeeded", "failed")
        two = await place.until("two", "succeeded", "failed")
    assert waiting is not None
    assert waiting.failure is not None
    assert waiting.failure.reason in ("peer_lost", "killed")
    assert (one.failure, two.failure, two.token) == (None, None, 2)
    assert one.result is not None
    assert two.result is not None
    assert two.result["metrics"]["resumed_from"] > 0
    alone, together = one.result["losses"], two.result["losses"]
    assert [step for step, _ in together] == list(range(1, 201))
    assert [loss for _, loss in together] == pytest.approx([loss for _, loss in alone], rel=1e-4)
    assert two.result["metrics"]["tokens"] == one.result["metrics"]["tokens"]


async def test_all_processes_of_a_cancelled_job_are_gone(place: Place) -> None:
    await place.submit("j", devices=2, recipe={"steps": 100_000})
    async with running(place.jobs):
        await place.checkpoint("j")
        await place.jobs.on_cancel(new(JobCancelRequested(job="j"), "upstream"))
        job = await place.until("j", "cancelled")
    assert job.failure is None
    for _ in range(1200):
        if not place.workers("j"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"still there: {place.workers('j')}")


def test_each_way_of_tuning_takes_the_steps_of_one_process_in_two(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    alone = together.losses(tiny, tmp_path / "alone", ranks.ALONE)
    shared = tmp_path / "shared"
    shared.mkdir()
    run = [sys.executable, "-m", launch.TORCHRUN, "--standalone", "--nproc-per-node=2"]
    run += ["-m", "tests.integration.together", str(tiny), str(shared)]
    subprocess.run(run, check=True)
    first, second = (json.loads((shared / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for name, losses in alone.items():
        assert first[name] == pytest.approx(losses, rel=1e-4), name
        assert list((shared / name / "out").glob("*.safetensors"))


async def test_a_tuning_that_lost_one_of_two_processes_goes_on_as_one_process_would_have(
    adapter: Place,
    tiny: Path,  # noqa: F811
) -> None:
    await adapter.tune("one", tiny, recipe=TUNING)
    await adapter.tune("two", tiny, recipe=TUNING, devices=2)
    async with running(adapter.jobs):
        await adapter.checkpoint("two")
        os.kill(adapter.workers("two")[-1].pid, signal.SIGKILL)
        two = await adapter.until("two", "succeeded", "failed")
        one = await adapter.until("one", "succeeded", "failed")
    assert (one.failure, two.failure) == (None, None)
    assert one.result is not None
    assert two.result is not None
    assert two.token == 2
    assert two.result["metrics"]["resumed_from"] > 0
    alone, together = one.result["losses"], two.result["losses"]
    assert [loss for _, loss in together] == pytest.approx([loss for _, loss in alone], rel=1e-4)
    assert len(together) == 6 * 20
