"""The contract of the job table, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from imece.events import Failure, Progress
from imece.runtime.database import Database
from imece.runtime.jobs import JobRequest, store
from imece.runtime.jobs.model import Failed, Job, RetryPolicy, Succeeded
from tests.integration.job_runner import make_database
from tests.integration.postgres import postgresql  # noqa: F401 - a fixture

POLICY = RetryPolicy(max_attempts=3, max_losses=2, first_delay=10)
AGAIN = Failed(Failure(reason="killed", message="killed by SIGKILL"), retry=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/jobs.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
    database = make_database(url)
    database.transact(lambda connection: connection.execute(delete(store.JOB)))
    yield database
    assert database._engine is not None
    database._engine.dispose()


def submit(database: Database, job: str, now: float = 0, **more: Any) -> Job:
    request = JobRequest(id=job, model="m", request={"ad": "ıİ"}, **more)
    return database.transact(store.submit, request, None, "handler", now)


def claim(database: Database, now: float, owner: str = "a", lease: float = 30) -> Job | None:
    taken = database.transact(store.claim, owner, now, lease, POLICY)
    return taken[0] if taken else None


def taken(database: Database, now: float, owner: str = "a") -> Job:
    job = claim(database, now, owner)
    assert job is not None
    return job


def test_the_first_write_of_an_id_wins(database: Database) -> None:
    submit(database, "j", priority=1)
    assert submit(database, "j", priority=9).priority == 1


def test_claims_go_by_priority_then_by_age(database: Database) -> None:
    submit(database, "old", 1)
    submit(database, "new", 2)
    submit(database, "urgent", 3, priority=5)
    assert [taken(database, 4).id for _ in range(3)] == ["urgent", "old", "new"]
    assert claim(database, 4) is None


def test_parallel_claims_never_share_a_job(database: Database) -> None:
    for number in range(40):
        submit(database, f"j{number}")
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda n: taken(database, 1, f"owner{n}"), range(40)))
    assert len({job.id for job in jobs}) == 40


def test_a_lapsed_lease_is_claimed_with_a_new_token_and_the_old_one_cannot_write(
    database: Database,
) -> None:
    submit(database, "j")
    first = taken(database, 0)
    assert claim(database, 29) is None
    second = taken(database, 31, "b")
    assert (second.token, second.losses, second.failures) == (2, 1, 0)
    assert database.transact(store.beat, first, 32, 30, elapsed=1) is None
    assert database.transact(store.finish, first, Succeeded({}), 32, POLICY) is None
    finished = database.transact(store.finish, second, Succeeded({"x": 1}), 33, POLICY)
    assert finished is not None
    assert (finished.state, finished.result) == ("succeeded", {"x": 1})


def test_a_beat_renews_the_lease_counts_time_and_stores_progress(database: Database) -> None:
    submit(database, "j")
    job = taken(database, 0)
    progress = Progress(step=3, steps=9)
    state = database.transact(store.beat, job, 20, 30, elapsed=20.0, progress=progress)
    assert state == "running"
    assert claim(database, 45) is None
    row = database.transact(store.get, "j")
    assert row is not None
    assert (row.progress, row.spent_seconds, row.version) == (progress, 20.0, job.version + 1)


def test_failures_wait_longer_each_time_and_end_as_failed(database: Database) -> None:
    submit(database, "j")
    now, waits = 0.0, []
    while True:
        job = taken(database, now)
        ended = database.transact(store.finish, job, AGAIN, now, POLICY)
        assert ended is not None
        if ended.state == "failed":
            break
        assert ended.state == "retry-wait"
        assert claim(database, ended.next_attempt_at - 1) is None
        waits.append(ended.next_attempt_at - now)
        now = ended.next_attempt_at
    assert waits == [10, 20]
    assert ended.failure == AGAIN.failure


def test_lost_machines_have_a_limit_of_their_own(database: Database) -> None:
    submit(database, "j")
    for round in range(3):
        assert taken(database, round * 100).failures == 0
    assert claim(database, 300) is None
    job = database.transact(store.get, "j")
    assert job is not None
    assert job.failure is not None
    assert (job.state, job.failure.reason) == ("failed", "machine_lost")


def test_a_release_gives_the_job_to_the_next_runner_at_once(database: Database) -> None:
    submit(database, "j")
    database.transact(store.finish, taken(database, 0), "released", 1, POLICY)
    again = taken(database, 1, "b")
    assert (again.token, again.failures, again.losses) == (2, 0, 0)


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_through_its_runner(
    database: Database,
) -> None:
    submit(database, "waits", 1)
    submit(database, "runs", 0)
    job = taken(database, 1)
    cancelled = database.transact(store.cancel, "waits", "me", 2)
    asked = database.transact(store.cancel, "runs", "me", 2)
    assert cancelled is not None
    assert asked is not None
    assert (cancelled.state, asked.state) == ("cancelled", "cancelling")
    assert database.transact(store.beat, job, 3, 30, elapsed=1) == "cancelling"
    ended = database.transact(store.finish, job, Succeeded({}), 4, POLICY)
    assert ended is not None
    assert ended.state == "cancelled"
    again = database.transact(store.cancel, "runs", "me", 5)
    assert again == ended
    assert database.transact(store.cancel, "unknown", "me", 5) is None


def test_cancelling_survives_the_loss_of_the_runner(database: Database) -> None:
    submit(database, "j")
    taken(database, 0)
    database.transact(store.cancel, "j", "me", 1)
    assert claim(database, 100) is None
    job = database.transact(store.get, "j")
    assert job is not None
    assert job.state == "cancelled"


def test_changes_of_others_are_left_to_them_for_a_while(database: Database) -> None:
    job = submit(database, "j", 10)
    assert database.transact(store.unannounced, "other", 12, 5) == []
    assert database.transact(store.unannounced, "other", 15, 5) == [job]
    assert database.transact(store.unannounced, "handler", 10, 5) == [job]
    database.transact(store.mark_announced, job)
    assert database.transact(store.unannounced, "handler", 99, 5) == []


def test_counts_are_by_state(database: Database) -> None:
    submit(database, "a")
    submit(database, "b")
    taken(database, 1)
    assert database.transact(store.counts) == {"queued": 1, "running": 1}


def test_jobs_that_are_claimed_before_are_counted(database: Database) -> None:
    for name, now, priority in (("a", 1, 0), ("b", 2, 0), ("c", 3, 5), ("d", 4, -1)):
        submit(database, name, now, priority=priority)
    jobs = [submit(database, name) for name in "abcd"]  # the first write of an id wins
    assert [database.transact(store.ahead, job) for job in jobs] == [1, 2, 0, 3]
    taken(database, 5)
    assert [database.transact(store.ahead, job) for job in jobs] == [0, 1, 0, 2]


def test_only_jobs_that_never_began_expire(database: Database) -> None:
    policy = RetryPolicy(start_seconds=60)
    submit(database, "began", 0)
    taken(database, 1)
    submit(database, "late", 1)
    submit(database, "fresh", 50)
    assert [job.id for job in database.transact(store.expire, "a", 100, policy)] == ["late"]
    late = database.transact(store.get, "late")
    assert late is not None
    assert (late.state, late.version) == ("failed", 2)
    assert database.transact(store.expire, "a", 100, policy) == []
    assert database.transact(store.expire, "a", 1e9, POLICY) == []


def test_a_batch_is_cut_smaller_after_each_want_of_memory(database: Database) -> None:
    short = Failed(Failure(reason="out_of_memory", message="no memory"), retry=True)
    submit(database, "j")
    for now, split in ((1, 2), (100, 4)):
        ended = database.transact(store.finish, taken(database, now), short, now, POLICY)
        assert ended is not None
        assert ended.request == {"ad": "ıİ", "split": split}
