"""Kafka handlers of the adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imece.events import (
    AdaptationRequested,
    AdapterTainted,
    DatasetPublished,
    Envelope,
    Event,
    JobCancelRequested,
)
from imece.runtime.delivery import Subscription, each
from imece.runtime.jobs import Job, JobRequest
from imece.runtime.jobs.runner import Jobs
from services.adapter import core, sweep
from services.adapter.retrain import Retrains
from services.adapter.sweeps import Sweeps


def subscriptions(jobs: Jobs, sweeps: Sweeps, retrains: Retrains) -> tuple[Subscription, ...]:
    """Return what the adapter consumes."""

    async def on_request(event: Envelope[AdaptationRequested]) -> None:
        core.check(event.data)
        if event.data.sweep is None:
            await jobs.submit(event, job_request(event))
        else:
            sweep.check(event.data)
            await sweeps.begin(event)

    async def on_cancel(event: Envelope[JobCancelRequested]) -> None:
        await jobs.on_cancel(event)
        await sweeps.on_cancel(event)

    return (
        each(AdaptationRequested, on_request),
        each(JobCancelRequested, on_cancel),
        each(DatasetPublished, retrains.on_published),
        each(AdapterTainted, retrains.on_tainted),
    )


def job_request(event: Envelope[AdaptationRequested]) -> JobRequest:
    data = event.data
    return JobRequest(
        id=core.job_id(event),
        model=data.model,
        request=data.model_dump(mode="json", exclude_none=True),
        priority=data.priority,
        timeout_seconds=data.timeout_seconds,
    )


def results(job: Job, result: Mapping[str, Any]) -> Sequence[Event]:
    """Return what to publish once `job` has succeeded: of a sweep's trials only the best."""
    if sweep.TRIAL in job.request:
        return ()
    return (core.trained(job.id, job.request, result),)
