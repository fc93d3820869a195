"""Why a job is where it is, in words for an operator."""

from __future__ import annotations

from datetime import UTC, datetime

from imece.runtime.jobs.model import SPLIT, Job


def why(job: Job, ahead: int, now: float) -> str:
    """Say why `job` waits or who runs it; `ahead` jobs are claimed before it."""
    if job.state == "queued":
        place = f"{ahead} before it in the queue" if ahead else "first in the queue"
        again = f", given back by attempt {job.token}" if job.token else ""
        where = "a free runner"
        if job.devices > 1:
            where += f" with {job.devices} devices free at once"
        return f"waits for {where}: {place}, priority {job.priority}{again}"
    if job.state == "retry-wait":
        left = job.next_attempt_at - now
        when = f"may start in {left:.0f} s" if left > 0 else "waits for a free runner"
        reason = job.failure.reason if job.failure else "a failure"
        cut = f", each batch in {job.request[SPLIT]} parts" if job.request.get(SPLIT) else ""
        return f"attempt {job.token} ended with {reason}; the next {when}{cut}"
    if job.state in ("running", "cancelling"):
        return _held(job, now)
    reason = f": {job.failure.reason}: {job.failure.message}" if job.failure else ""
    return f"has ended as {job.state}{reason}"


def details(job: Job, ahead: int, now: float) -> dict[str, str | int | float | None]:
    """Return what there is to know about a job, `why` among it."""
    return {
        "job": job.id,
        "model": job.model,
        "state": job.state,
        "why": why(job, ahead, now),
        "attempt": job.token,
        "failures": job.failures,
        "losses": job.losses,
        "devices": job.devices,
        "split": job.request.get(SPLIT, 1),
        "seconds": round(job.spent_seconds, 1),
        "timeout_seconds": job.timeout_seconds,
        "submitted": _moment(job.submitted_at),
        "changed": _moment(job.changed_at),
    }


def _held(job: Job, now: float) -> str:
    left = job.lease_until - now
    if left < 0:
        return (
            f"its runner {job.owner} is silent, the lease ended {-left:.0f} s ago;"
            " the next free runner takes the job over"
        )
    doing = "stops it" if job.state == "cancelling" else "runs it"
    return f"{job.owner} {doing} in attempt {job.token}; its lease ends in {left:.0f} s"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
