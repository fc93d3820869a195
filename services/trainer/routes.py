"""Kafka handlers of the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imece.events import Envelope, Event, JobCancelRequested, TrainingRequested
from imece.runtime.delivery import Subscription, each
from imece.runtime.jobs import Job, JobRequest
from imece.runtime.jobs.runner import Jobs
from services.trainer import core


def subscriptions(jobs: Jobs) -> tuple[Subscription, ...]:
    """Return what the trainer consumes."""

    async def on_request(event: Envelope[TrainingRequested]) -> None:
        core.check(event.data)
        await jobs.submit(event, job_request(event))

    return each(TrainingRequested, on_request), each(JobCancelRequested, jobs.on_cancel)


def job_request(event: Envelope[TrainingRequested]) -> JobRequest:
    data = event.data
    return JobRequest(
        id=core.job_id(event),
        model=data.model,
        request=data.model_dump(mode="json", exclude_none=True),
        priority=data.priority,
        timeout_seconds=data.timeout_seconds,
    )


def results(job: Job, result: Mapping[str, Any]) -> Sequence[Event]:
    """Return what to publish once `job` has succeeded."""
    return (core.trained(job.id, job.request, result),)
