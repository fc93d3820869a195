"""Sweeps: keep each study's trials going as jobs, and announce its best when all are over.

All it knows is in the rows of studies and jobs, so it goes on after a restart where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from datetime import UTC, datetime

import structlog

from imece.errors import UnavailableError
from imece.events import (
    AdaptationRequested,
    AuditRecorded,
    Envelope,
    Event,
    JobCancelRequested,
    derived_id,
)
from imece.events.sweeps import Sweep
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest
from imece.runtime.jobs.model import TERMINAL
from imece.runtime.jobs.outcome import printable
from imece.runtime.jobs.runner import Jobs
from services.adapter import core, store, sweep
from services.adapter.store import Stored

log = structlog.get_logger()
SOURCE = "imece/adapter"


class Sweeps:
    """All open studies of one adapter."""

    def __init__(
        self, database: Database, jobs: Jobs, publish: Publish, *, tick_seconds: float = 1
    ) -> None:
        self._database, self._jobs, self._publish = database, jobs, publish
        self._tick = tick_seconds
        self._seen: dict[str, dict[int, float]] = defaultdict(dict)

    async def begin(self, event: Envelope[AdaptationRequested]) -> None:
        """Open the study that an event asks for; its trials follow."""
        request = event.data.model_dump(mode="json", exclude_none=True)
        id = core.job_id(event)
        await self._database.run(store.begin, id, request, event.traceparent)

    async def on_cancel(self, event: Envelope[JobCancelRequested]) -> None:
        """Stop a study and all its trials; nothing of it is announced."""
        study = event.data.job
        if await self._database.run(store.end, study, "cancelled"):
            await self._cancel_trials(study, event.data.by)

    async def run(self, stop: asyncio.Event) -> None:
        """Look after all open studies until `stop`."""
        while not stop.is_set():
            try:
                for study in await self._database.run(store.open_studies):
                    await self._look_after(study)
            except UnavailableError as error:
                log.warning("sweep.postponed", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._tick)

    async def _look_after(self, study: Stored) -> None:
        try:
            await self.tick(study)
        except ValueError as error:
            # Its next recipe is none; the other studies and all jobs go on.
            await self._cancel_trials(study.id, "sweep")
            await self._end(
                study, _failed(study.id, f"it cannot go on: {error}"), datetime.now(UTC)
            )

    async def tick(self, study: Stored) -> None:
        """Start, prune or finish what is due in one study."""
        request = AdaptationRequested.model_validate(study.request, extra="ignore")
        assert request.sweep is not None
        jobs = await self._database.run(store.trials, study.id)
        self._look(jobs)
        due = await asyncio.to_thread(sweep.plan, request.sweep, jobs, self._seen)
        for job_id in due.prune:
            await self._jobs.cancel(job_id, "sweep")
        for number, parameters in due.start.items():
            trial = sweep.trial(study.id, request, number, parameters)
            await self._jobs.queue(_job(trial, request), study.traceparent)
        if due.start and not await self._database.run(store.is_open, study.id):
            await self._cancel_trials(study.id, "sweep")  # it was cancelled while it planned
        if due.over:
            await self._finish(study, request.sweep, jobs)

    async def _cancel_trials(self, study: str, by: str) -> None:
        for job in await self._database.run(store.trials, study):
            if job.state not in TERMINAL:
                await self._jobs.cancel(job.id, by)

    def _look(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.state in TERMINAL:
                self._seen.pop(job.id, None)
            elif job.progress is not None and job.progress.loss is not None:
                at = sweep.place(job.progress.step, job.progress.steps)
                self._seen[job.id][at] = job.progress.loss

    async def _finish(self, study: Stored, asked: Sweep, jobs: list[Job]) -> None:
        found = sweep.study_of(study.id, asked, jobs)
        event: Event
        if found is None:
            why = f"none of {len(jobs)} trials has {asked.metric}; see their jobs' failures"
            event = _failed(study.id, why)
        else:
            best = next(job for job in jobs if job.id == found.best[0].job)
            assert best.result is not None
            trained = core.trained(best.id, best.request, best.result)
            event = trained.model_copy(update={"study": found})
        at = datetime.fromtimestamp(max(job.changed_at for job in jobs), UTC)
        await self._end(study, event, at)

    async def _end(self, study: Stored, event: Event, at: datetime) -> None:
        if not await self._database.run(store.is_open, study.id):
            return  # it was cancelled since it was read
        id = derived_id(study.id, event.topic.name)
        await self._publish(Envelope(event, id, SOURCE, at, study.traceparent))
        state = "failed" if isinstance(event, AuditRecorded) else "over"
        await self._database.run(store.end, study.id, state)
        log.info("sweep.end", study=study.id, state=state)


def _failed(study: str, why: str) -> AuditRecorded:
    return AuditRecorded(
        service="adapter",
        action="sweep.failed",
        subject=study,
        actor="sweep",
        detail=printable(why),
    )


def _job(trial: sweep.NewTrial, request: AdaptationRequested) -> JobRequest:
    return JobRequest(
        id=trial.job,
        model=request.model,
        request=trial.request,
        priority=request.priority,
        timeout_seconds=request.timeout_seconds,
    )
