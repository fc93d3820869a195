"""Sweeps: what spaces are sound, what is tried, what is pruned, what is announced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imece.errors import RejectedError
from imece.events import (
    AdapterTrained,
    AuditRecorded,
    Choices,
    FloatRange,
    IntRange,
    JobCancelRequested,
    Progress,
    Sweep,
    new,
)
from imece.events.models import Failure
from imece.runtime.database import Database
from imece.runtime.jobs import Job
from imece.runtime.jobs import store as jobs
from imece.runtime.jobs.model import Failed, RetryPolicy, Succeeded
from services.adapter import core, store, sweep
from services.adapter.sweeps import Sweeps
from tests.unit.adapter.test_core import requested
from tests.unit.adapter.test_routes import World, asked

SPACE = {
    "learning_rate": FloatRange(low=1e-4, high=1e-1, log=True),
    "rank": Choices(values=(2, 4, 8)),
    "epochs": IntRange(low=1, high=3),
}
SWEEP = Sweep(space=SPACE, trials=8, parallel=2, seed=7)
STUDY = core.job_id(asked())


@pytest.mark.parametrize(
    ("name", "dimension", "words"),
    [
        ("rang", Choices(values=(2,)), "has no rang; it has alpha"),
        ("rank", Choices(values=(2, 0)), "greater than or equal to 1"),
        ("learning_rate", FloatRange(low=0.1, high=2), "less than or equal to 1"),
        ("epochs", Choices(values=("many",)), "valid integer"),
        ("method", Choices(values=("lora", "magic")), "method is none of"),
        ("rank", FloatRange(low=4, high=8), "valid integer"),
        ("last_layers", Choices(values=(True,)), "valid integer"),
    ],
)
def test_a_space_that_leaves_what_a_recipe_may_be_is_refused(
    name: str, dimension: Any, words: str
) -> None:
    request = requested(sweep=Sweep(space={name: dimension}))
    with pytest.raises(RejectedError, match=words) as raised:
        sweep.check(request)
    assert (raised.value.reason, raised.value.pointer) == (
        "bad_search_space",
        f"/sweep/space/{name}",
    )


def test_a_space_with_a_method_that_cannot_be_merged_is_refused_where_that_is_asked() -> None:
    space = {"method": Choices(values=("lora", "qlora"))}
    sweep.check(requested(sweep=Sweep(space=space)))
    with pytest.raises(RejectedError) as raised:
        sweep.check(requested(sweep=Sweep(space=space), export="merged"))
    assert raised.value.reason == "cannot_merge"


def test_ranges_are_ordered() -> None:
    with pytest.raises(ValueError, match="above high"):
        IntRange(low=3, high=2)
    with pytest.raises(ValueError, match="above 0"):
        FloatRange(low=0, high=1, log=True)


class Study:
    """A study on a database, whose trials end as the test says."""

    def __init__(self, world: World) -> None:
        (database,) = world.service.resources
        assert isinstance(database, Database)
        self.world, self.database = world, database
        (owner,) = {
            work.__self__
            for work in world.service.background
            if isinstance(getattr(work, "__self__", None), Sweeps)
        }
        self.sweeps: Sweeps = owner

    async def tick(self) -> None:
        for study in self.database.transact(store.open_studies):
            await self.sweeps.tick(study)

    def trials(self) -> list[Job]:
        return self.database.transact(store.trials, STUDY)

    def claim(self) -> Job:
        taken = self.database.transact(jobs.claim, "runner", time.time(), 30.0, RetryPolicy())
        assert taken is not None
        return taken[0]

    def finish(self, job: Job, loss: float) -> None:
        losses = [(step, loss + 1 - step / 20) for step in range(1, 21)]
        result = {
            "uri": f"file:///{job.id}",
            "digest": "sha256:" + "1" * 64,
            "base_digest": "sha256:" + "2" * 64,
            "metrics": {"final_loss": loss},
            "losses": losses,
        }
        self.database.transact(jobs.finish, job, Succeeded(result), time.time(), RetryPolicy())

    async def run(self, loss: Callable[[Job], float]) -> None:
        for _ in range(100):
            await self.tick()
            if not self.database.transact(store.open_studies):
                return
            while [job for job in self.trials() if job.state == "queued"]:
                job = self.claim()
                self.finish(job, loss(job))
        raise AssertionError(f"the study does not end: {self.trials()}")

    def announced(self, kind: type) -> list[Any]:
        return [event for event in self.world.published if isinstance(event.data, kind)]


def by_rate(job: Job) -> float:
    """Return a loss that is least at a learning rate of 0.01."""
    rate = job.request["recipe"]["learning_rate"]
    return abs(rate - 0.01) + 1.0 / job.request["recipe"]["rank"]


async def test_the_best_trial_alone_is_announced_with_its_study(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP), asked(sweep=SWEEP))
        study = Study(world)
        await study.run(by_rate)
        trials = study.trials()
        (event,) = study.announced(AdapterTrained)
    assert [job.id for job in trials] == [f"{STUDY}.{n:04d}" for n in range(8)]
    assert len({str(job.request["recipe"]) for job in trials}) > 5
    best = min(trials, key=by_rate)
    assert (event.data.job, event.data.recipe.rank) == (best.id, best.request["recipe"]["rank"])
    told = event.data.study
    assert (told.study, told.succeeded, told.pruned, told.failed) == (STUDY, 8, 0, 0)
    assert told.best[0].parameters == best.request["trial"]["parameters"]
    values = [trial.value for trial in told.best]
    assert values == sorted(values)


async def test_a_study_goes_on_after_a_restart_and_samples_as_it_would_have(tmp_path: Path) -> None:
    tried = []
    for folder, restart in (("one", False), ("two", True)):
        world = World(tmp_path / folder)
        async with world:
            await world.receive(asked(sweep=SWEEP))
            study = Study(world)
            for _ in range(2):
                await study.tick()
                while [job for job in study.trials() if job.state == "queued"]:
                    job = study.claim()
                    study.finish(job, by_rate(job))
            if not restart:
                await study.run(by_rate)
                tried.append([job.request["recipe"] for job in study.trials()])
        if restart:
            async with World(tmp_path / folder) as again:
                study = Study(again)
                await study.run(by_rate)
                tried.append([job.request["recipe"] for job in study.trials()])
                assert len(study.announced(AdapterTrained)) == 1
    assert tried[0] == tried[1]


async def test_a_trial_that_falls_behind_is_stopped(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        wide = SWEEP.model_copy(update={"trials": 12, "parallel": 6})
        await world.receive(asked(sweep=wide))
        study = Study(world)
        await study.tick()
        for loss in (0.1, 0.2, 0.3, 0.4):
            study.finish(study.claim(), loss)
        bad, good = study.claim(), study.claim()
        for job, loss in ((bad, 9.0), (good, 0.01)):
            progress = Progress(step=10, steps=20, loss=loss)
            study.database.transact(
                jobs.beat, job, time.time(), 30.0, elapsed=1.0, progress=progress
            )
        await study.tick()
        states = {job.id: job.state for job in study.trials()}
    assert (states[bad.id], states[good.id]) == ("cancelling", "running")


async def test_a_study_of_which_nothing_succeeds_says_so(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP.model_copy(update={"trials": 2})))
        study = Study(world)
        await study.tick()
        failed = Failed(Failure(reason="diverged", message="no number"), retry=False)
        for _ in range(2):
            study.database.transact(jobs.finish, study.claim(), failed, time.time(), RetryPolicy())
        await study.tick()
        (audit,) = study.announced(AuditRecorded)
        assert study.announced(AdapterTrained) == []
        assert study.database.transact(store.open_studies) == []
    assert (audit.data.action, audit.data.subject) == ("sweep.failed", STUDY)


async def test_a_study_whose_next_recipe_is_none_ends_by_itself_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP))
        study, stop = Study(world), asyncio.Event()

        def no_recipe(*_: object) -> object:
            stop.set()
            return sweep.recipe_of(requested(), {"rank": 1.5})

        monkeypatch.setattr(sweep, "trial", no_recipe)
        await study.sweeps.run(stop)
        assert study.database.transact(store.open_studies) == []
        (audit,) = study.announced(AuditRecorded)
    assert audit.data.action == "sweep.failed"
    assert "valid integer" in audit.data.detail


async def test_a_cancelled_study_stops_its_trials_and_announces_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP))
        study = Study(world)
        await study.tick()
        await world.receive(new(JobCancelRequested(job=STUDY, by="ayşe"), "cli"))
        await study.tick()
        assert {job.state for job in study.trials()} == {"cancelled"}
        assert study.announced(AdapterTrained) == []


async def test_a_study_that_is_cancelled_while_it_plans_starts_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP))
        study, plan = Study(world), sweep.plan

        def cancelled_meanwhile(*arguments: Any) -> sweep.Next:
            assert study.database.transact(store.end, STUDY, "cancelled")
            return plan(*arguments)

        monkeypatch.setattr(sweep, "plan", cancelled_meanwhile)
        await study.tick()
        assert {job.state for job in study.trials()} == {"cancelled"}


async def test_a_study_that_is_cancelled_after_its_last_trial_announces_nothing(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.receive(asked(sweep=SWEEP))
        study = Study(world)
        (read,) = study.database.transact(store.open_studies)
        while len(study.trials()) < SWEEP.trials:
            await study.tick()
            while [job for job in study.trials() if job.state == "queued"]:
                job = study.claim()
                study.finish(job, by_rate(job))
        await world.receive(new(JobCancelRequested(job=STUDY, by="ayşe"), "cli"))
        await study.sweeps.tick(read)
        assert study.announced(AdapterTrained) == []


def test_results_of_a_trial_publish_nothing_by_themselves() -> None:
    made = sweep.trial(STUDY, requested(sweep=SWEEP), 3, {"rank": 4})
    assert made.job == f"{STUDY}.0003"
    assert made.request["recipe"]["rank"] == 4
    assert "sweep" not in made.request
