"""All SQL of the job table, the same on SQLite and PostgreSQL.

Every write of a running attempt names its fencing token, so a stale one touches no row.
"""

from __future__ import annotations

import json
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    or_,
    select,
    update,
)

from imece.events import Failure, Progress, State
from imece.runtime.database import insert_new
from imece.runtime.jobs.model import (
    SPLIT,
    TERMINAL,
    WANTS_MEMORY,
    Job,
    JobRequest,
    Outcome,
    RetryPolicy,
    Succeeded,
)
from imece.runtime.jobs.table import JOB, define, job_of

__all__ = ["JOB", "define"]

_C = JOB.c
_LIVE = ("running", "cancelling")
_ORDER = (_C.priority.desc(), _C.submitted_at, _C.id)


def submit(
    connection: Connection, request: JobRequest, traceparent: str | None, by: str, now: float
) -> Job:
    """Queue a job unless one of its id exists; return the one that is stored."""
    row = {
        "id": request.id,
        "model": request.model,
        "request": json.dumps(request.request),
        "priority": request.priority,
        "timeout_seconds": request.timeout_seconds,
        "traceparent": traceparent,
        "state": "queued",
        "version": 1,
        "announced": 0,
        "token": 0,
        "lease_until": 0.0,
        "next_attempt_at": 0.0,
        "failures": 0,
        "losses": 0,
        "spent_seconds": 0.0,
        "submitted_at": now,
        "changed_at": now,
        "changed_by": by,
    }
    insert_new(connection, JOB, [row])
    stored = get(connection, request.id)
    assert stored is not None
    return stored


def get(connection: Connection, job_id: str) -> Job | None:
    """Return one job, None when there is none of that id."""
    row = connection.execute(select(JOB).where(_C.id == job_id)).mappings().first()
    return job_of(row) if row else None


def counts(connection: Connection) -> dict[str, int]:
    """Return how many jobs are in each state that has any."""
    rows = connection.execute(select(_C.state, func.count()).group_by(_C.state))
    return {state: count for state, count in rows}


def next_up(connection: Connection, now: float, most: int | None) -> Job | None:
    """Return the most urgent claimable job that takes at most `most` devices (None: any)."""
    statement = select(JOB).where(_claimable(now)).order_by(*_ORDER)
    for row in connection.execute(statement).mappings():
        job = job_of(row)
        if most is None or job.devices <= most:
            return job
    return None


def claim(
    connection: Connection,
    owner: str,
    now: float,
    lease: float,
    policy: RetryPolicy,
    *,
    only: str | None = None,
) -> tuple[Job, bool] | None:
    """Take the most urgent claimable job for `lease` seconds, and whether it was lost before.

    With `only` that one or none. None when nothing is claimable. A job whose machine was lost is
    counted as a loss; one lost too often ends here as failed, one that was being cancelled as
    cancelled, and the next is looked at.
    """
    while (found := _candidate(connection, now, only)) is not None:
        lost = found.state in _LIVE
        if found.state == "cancelling":
            _change(connection, found, owner, now, state="cancelled", owner=None)
        elif lost and found.losses >= policy.max_losses:
            failure = Failure(
                reason="machine_lost",
                message=f"the machine was lost in {found.losses + 1} attempts; see its memory use",
            )
            _change(connection, found, owner, now, state="failed", failure=failure, owner=None)
        else:
            claimed = {
                "state": "running",
                "owner": owner,
                "lease_until": now + lease,
                "token": found.token + 1,
                "losses": found.losses + lost,
                "failure": None,
            }
            _change(connection, found, owner, now, **claimed)
            taken = get(connection, found.id)
            assert taken is not None
            return taken, lost
    return None


def beat(
    connection: Connection,
    job: Job,
    now: float,
    lease: float,
    *,
    elapsed: float,
    progress: Progress | None = None,
) -> State | None:
    """Renew the lease, add the running time, store progress; None when the token is stale."""
    values: dict[str, Any] = {
        "lease_until": now + lease,
        "spent_seconds": _C.spent_seconds + elapsed,
    }
    if progress is not None:
        values |= {
            "progress": progress.model_dump_json(),
            "version": _C.version + 1,
            "changed_at": now,
            "changed_by": job.owner,
        }
    statement = update(JOB).where(_held(job)).values(values).returning(_C.state)
    return cast(State | None, connection.execute(statement).scalar())


def finish(
    connection: Connection, job: Job, outcome: Outcome, now: float, policy: RetryPolicy
) -> Job | None:
    """Write how the attempt of `job` ended; None when its token is stale.

    A job that was asked to cancel ends as cancelled, however its attempt ended.
    """
    held = connection.execute(select(JOB).where(_held(job)).with_for_update()).mappings().first()
    if held is None:
        return None
    row = job_of(held)
    values = _ending(row, outcome, now, policy)
    _change(connection, row, job.owner or "", now, owner=None, lease_until=0.0, **values)
    return get(connection, job.id)


def expire(connection: Connection, by: str, now: float, policy: RetryPolicy) -> list[Job]:
    """Fail the jobs that no attempt began in time; return them as they were."""
    if policy.start_seconds is None:
        return []
    late = and_(_C.state == "queued", _C.token == 0, _C.submitted_at < now - policy.start_seconds)
    statement = select(JOB).where(late).with_for_update(skip_locked=True)
    found = [job_of(row) for row in connection.execute(statement).mappings()]
    for job in found:
        message = f"no attempt began within {policy.start_seconds:g} s: add runners, or wait longer"
        failure = Failure(reason="start_timed_out", message=message)
        _change(connection, job, by, now, state="failed", failure=failure)
    return found


def ahead(connection: Connection, job: Job) -> int:
    """Return how many of the jobs that wait now will be claimed before this one."""
    earlier = or_(
        _C.submitted_at < job.submitted_at,
        and_(_C.submitted_at == job.submitted_at, _C.id < job.id),
    )
    first = or_(_C.priority > job.priority, and_(_C.priority == job.priority, earlier))
    waiting = _C.state.in_(("queued", "retry-wait"))
    return connection.execute(select(func.count()).where(waiting, first)).scalar_one()


def cancel(connection: Connection, job_id: str, by: str, now: float) -> Job | None:
    """Ask a job to stop: at once when it waits, through its runner when it runs.

    Returns the job as it is now, None when there is none of that id. Ended jobs stay as they are.
    """
    statement = select(JOB).where(_C.id == job_id).with_for_update()
    row = connection.execute(statement).mappings().first()
    if row is None:
        return None
    job = job_of(row)
    if job.state == "running":
        _change(connection, job, by, now, state="cancelling")
    elif job.state in ("queued", "retry-wait"):
        _change(connection, job, by, now, state="cancelled")
    return get(connection, job_id)


def unannounced(connection: Connection, by: str, now: float, patience: float) -> list[Job]:
    """Return jobs with an unannounced change: own ones, and others' older than `patience`."""
    mine = or_(_C.changed_by == by, _C.changed_at <= now - patience)
    waiting = and_(_C.version > _C.announced, mine)
    statement = select(JOB).where(waiting).order_by(_C.changed_at, _C.id).limit(200)
    return [job_of(row) for row in connection.execute(statement).mappings()]


def mark_announced(connection: Connection, job: Job) -> None:
    """Remember that this version was published last.

    Unconditional on purpose: if a newer version was already marked by another runner, ours was
    published after it, so the newer one has to follow once more (the topic is compacted).
    """
    connection.execute(update(JOB).where(_C.id == job.id).values(announced=job.version))


def _claimable(now: float) -> ColumnElement[bool]:
    return or_(
        _C.state == "queued",
        and_(_C.state == "retry-wait", _C.next_attempt_at <= now),
        and_(_C.state.in_(_LIVE), _C.lease_until < now),
    )


def _candidate(connection: Connection, now: float, only: str | None) -> Job | None:
    wanted = _claimable(now) if only is None else and_(_claimable(now), _C.id == only)
    statement = (
        select(JOB).where(wanted).order_by(*_ORDER).limit(1).with_for_update(skip_locked=True)
    )
    row = connection.execute(statement).mappings().first()
    return job_of(row) if row else None


def _held(job: Job) -> ColumnElement[bool]:
    return and_(_C.id == job.id, _C.token == job.token, _C.state.in_(_LIVE))


def _ending(job: Job, outcome: Outcome, now: float, policy: RetryPolicy) -> dict[str, Any]:
    if job.state == "cancelling" or outcome == "cancelled":
        return {"state": "cancelled"}
    if isinstance(outcome, str):
        return {"state": "queued"}
    if isinstance(outcome, Succeeded):
        return {"state": "succeeded", "result": outcome.result}
    failures = job.failures + 1
    again = outcome.retry and failures < policy.max_attempts
    values: dict[str, Any] = {"failures": failures, "failure": outcome.failure}
    if again:
        if outcome.failure.reason in WANTS_MEMORY:
            # Smaller micro-batches, the same effective batch.
            values["request"] = {**job.request, SPLIT: 2 * job.request.get(SPLIT, 1)}
        return values | {"state": "retry-wait", "next_attempt_at": now + policy.delay(failures)}
    return values | {"state": "failed"}


def _change(connection: Connection, job: Job, by: str, now: float, **values: Any) -> None:
    """Write a new version of a row that this transaction has read and locked."""
    if isinstance(failure := values.get("failure"), Failure):
        values["failure"] = failure.model_dump_json()
    for name in ("request", "result"):
        if values.get(name) is not None:
            values[name] = json.dumps(values[name], allow_nan=False)
    values |= {"version": job.version + 1, "changed_at": now, "changed_by": by}
    connection.execute(update(JOB).where(_C.id == job.id).values(values))


def is_over(job: Job) -> bool:
    """Tell whether the job has ended for good."""
    return job.state in TERMINAL
