"""Publishing what happened to jobs: results or failures first, then the state.

Ids and times come from the row alone, so a repeated announcement is the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from imece.events import Envelope, Event, Failure, JobState, derived_id
from imece.runtime.jobs.model import Job

Kind = Literal["training", "adaptation", "evaluation"]
Results = Callable[[Job, dict[str, Any]], Sequence[Event]]
Failures = Callable[[Job, Failure], Sequence[Event]]


def nothing(_job: Job, _failure: Failure) -> Sequence[Event]:
    """Publish no event of its own for a failure; the job's state says it."""
    return ()


@dataclass(frozen=True)
class Announcer:
    """Turns rows into events."""

    service: str
    kind: Kind
    results: Results
    failures: Failures

    def consequences(self, job: Job) -> list[Envelope[Event]]:
        """Return the events that the end of a job brings, none before it has ended."""
        events: Sequence[Event] = ()
        if job.state == "succeeded":
            assert job.result is not None
            events = self.results(job, job.result)
        elif job.state == "failed":
            assert job.failure is not None
            events = self.failures(job, job.failure)
        return [
            self.envelope(job, event, derived_id(job.id, event.topic.name, number))
            for number, event in enumerate(events)
        ]

    def state(self, job: Job) -> Envelope[Event]:
        """Return the state event of this version of the row."""
        event = JobState(
            job=job.id,
            kind=self.kind,
            service=self.service,
            model=job.model,
            state=job.state,
            version=job.version,
            attempt=job.token,
            progress=job.progress,
            failure=job.failure,
            at=datetime.fromtimestamp(job.changed_at, UTC),
        )
        return self.envelope(job, event, derived_id(job.id, event.topic.name, job.version))

    def envelope(self, job: Job, event: Event, id: str) -> Envelope[Event]:
        """Wrap an event of this job under a given id."""
        moment = datetime.fromtimestamp(job.changed_at, UTC)
        return Envelope(event, id, f"imece/{self.service}", moment, job.traceparent)
