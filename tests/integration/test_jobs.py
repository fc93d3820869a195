"""Jobs with real child processes on a SQLite file; runners that are killed and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from sqlalchemy import update

from imece.errors import UnavailableError
from imece.events import JobCancelRequested, TrainingRequested, derived_id, new
from imece.events.records import DatasetRef
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest, oom, store
from imece.runtime.jobs.runner import Jobs
from tests.integration.job_runner import ROOT, Recorder, make_database, make_jobs

CAUSE = new(
    TrainingRequested(
        model="m",
        datasets=(
            DatasetRef(dataset="d", version=1, uri="file:///d", digest="sha256:" + "0" * 64),
        ),
    ),
    "upstream",
    "cause",
)


class Bench:
    """A database, a recorder of published events and a trace of executed steps."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.recorder = Recorder(folder / "events.jsonl")
        self.trace = folder / "trace"

    def jobs(self, **options: Any) -> Jobs:
        publish = options.pop("publish", self.recorder.publish)
        return make_jobs(self.database, publish, self.folder / "jobs", **options)

    def request(self, job: str, steps: int = 5, **more: Any) -> JobRequest:
        known = {name: more.pop(name) for name in ("priority", "timeout_seconds") if name in more}
        request = {"steps": steps, "trace": str(self.trace), **more}
        return JobRequest(id=job, model="m", request=request, **known)

    async def submit(self, jobs: Jobs, job: str, **more: Any) -> None:
        await jobs.submit(CAUSE, self.request(job, **more))

    async def get(self, job: str) -> Job:
        row = await self.database.run(store.get, job)
        assert row is not None
        return row

    def steps(self) -> list[tuple[int, int, int]]:
        """Return (token, step, pid) of every executed step."""
        if not self.trace.exists():
            return []
        return [tuple(map(int, line.split())) for line in self.trace.read_text().splitlines()]  # type: ignore[misc]

    def results(self) -> set[str]:
        """Return the ids of announced results; readers drop a repeated id."""
        return {event["id"] for event in self.recorder.events("audit")}

    async def until(self, what: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not within {seconds} s; {self.steps()[-3:]}"
            await asyncio.sleep(0.02)

    async def lapse(self) -> None:
        """Let all leases end now."""
        lapsed = update(store.JOB).values(lease_until=0)
        await self.database.run(lambda connection: connection.execute(lapsed))

    async def at(self, step: int) -> int:
        """Wait until the first attempt, told to stay at a step, is there; return its child."""
        await self.until(lambda: len(self.steps()) >= step)
        assert len(self.steps()) == step
        return self.steps()[0][2]

    def go(self) -> None:
        """Let an attempt go on that stays at a step."""
        Path(f"{self.trace}.go").touch()

    async def over(self, job: str) -> Job:
        while True:
            row = await self.get(job)
            if store.is_over(row):
                return row
            await asyncio.sleep(0.02)

    def freeze(self, pid: int) -> None:
        """Stop a process while it cannot hold the database's lock, or nobody could go on."""
        with closing(sqlite3.connect(self.folder / "jobs.db", timeout=120)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            os.kill(pid, signal.SIGSTOP)
            while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
                time.sleep(0.01)

    @contextmanager
    def runner(self, lease: float) -> Iterator[subprocess.Popen[bytes]]:
        url, record = f"sqlite:///{self.folder}/jobs.db", self.recorder.path
        arguments = [url, str(self.folder / "jobs"), str(record), str(lease)]
        command = [sys.executable, "-m", "tests.integration.job_runner", *arguments]
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with make_database(f"sqlite:///{tmp_path}/jobs.db") as database:
        yield Bench(tmp_path, database)


@asynccontextmanager
async def running(jobs: Jobs) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(jobs.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_job_succeeds_and_its_result_is_announced_before_its_state(bench: Bench) -> None:
    jobs = bench.jobs()
    async with running(jobs):
        await bench.submit(jobs, "j", stay=1)
        await bench.submit(jobs, "j", steps=99)  # redelivered, and even changed: the first wins
        await bench.until(lambda: "running" in bench.recorder.states("j"))
        bench.go()
        job = await bench.over("j")
    assert job.result == {"total": 15, "resumed_from": 0}
    assert bench.recorder.states("j") == ["queued", "running", "succeeded"]
    topics = [event["topic"] for event in bench.recorder.events()]
    assert topics[-2:] == ["imece.audit.recorded.v1", "imece.job.state.v1"]
    versions = [event["data"]["version"] for event in bench.recorder.events("job.state")]
    assert versions == sorted(set(versions))
    assert list((bench.folder / "jobs" / "j").glob("*/checkpoints")) == []


@pytest.mark.parametrize(
    ("mode", "reason", "word"),
    [
        ("fail", "unknown_base", "hf:none"),
        ("no-result", "no_result", "about to leave without a word"),
        ("crash", "crashed", "epoch 1 of 3"),
        ("bad-result", "bad_result", "a total of 0"),
    ],
)
async def test_a_failure_that_stays_has_a_name_and_is_not_retried(
    bench: Bench, mode: str, reason: str, word: str
) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", mode=mode)
    await jobs.run_once()
    await jobs.announce()
    job = await bench.get("j")
    assert job.failure is not None
    assert (job.state, job.token, job.failure.reason) == ("failed", 1, reason)
    assert word in job.failure.message
    assert bench.recorder.events("audit")[0]["data"]["detail"] == reason


async def test_a_module_that_cannot_be_imported_fails_by_name(bench: Bench) -> None:
    jobs = bench.jobs(module="tests.integration.no_such_job")
    await bench.submit(jobs, "j")
    await jobs.run_once()
    (bench.folder / "broken_job.py").write_text("import not_there\n")
    more = bench.jobs(module="broken_job", env={"PYTHONPATH": str(bench.folder)})
    await bench.submit(more, "k")
    await more.run_once()
    for job, module in (("j", "no_such_job"), ("k", "not_there")):
        failure = (await bench.get(job)).failure
        assert failure is not None
        assert failure.reason == "import_failed"
        assert module in failure.message


async def test_a_full_disk_is_named_and_tried_again_later(bench: Bench) -> None:
    jobs = bench.jobs(max_attempts=2)
    await bench.submit(jobs, "j", mode="disk-full")
    async with running(jobs):
        job = await bench.over("j")
    assert job.failure is not None
    assert (job.failure.reason, job.token) == ("disk_full", 2)


async def test_a_disk_that_fills_up_while_a_checkpoint_is_written_spares_the_one_before(
    bench: Bench,
) -> None:
    jobs = bench.jobs(max_attempts=2)
    await bench.submit(jobs, "j", mode="fill")
    async with running(jobs):
        job = await bench.over("j")
    assert job.failure is not None
    assert (job.failure.reason, job.token) == ("disk_full", 2)
    assert "no space left" in job.failure.message
    left = {path.name for path in (bench.folder / "jobs" / "j").glob("*/checkpoints/*")}
    assert left == {"step-00000001"}


async def test_a_failure_that_may_pass_is_retried_until_it_does(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", mode="flaky")
    while (job := await bench.get("j")).state != "succeeded":
        await jobs.run_once()
        await jobs.announce()
    assert (job.state, job.token, job.failures) == ("succeeded", 3, 2)
    assert "retry-wait" in bench.recorder.states("j")


async def test_a_killed_child_resumes_from_its_last_checkpoint(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=30, stay=13)
    async with running(jobs):
        os.kill(await bench.at(13), signal.SIGKILL)
        job = await bench.over("j")
    times = Counter(step for _, step, _ in bench.steps())
    repeated = [step for step, count in times.items() if count > 1]
    assert job.result is not None
    assert (job.result["total"], job.failures) == (465, 1)
    assert job.result["resumed_from"] == 10
    assert repeated == [11, 12, 13]


async def test_a_torn_or_foreign_checkpoint_is_passed_over(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=20, stay=12)
    async with running(jobs):
        pid = await bench.at(12)
        folder = bench.folder / "jobs" / "j" / "1" / "checkpoints"
        sound = sorted(folder.glob("step-*"))[-1]
        torn = folder / "step-00000018"
        torn.mkdir()
        (torn / "total.json").write_text("9999")
        foreign = folder / "step-00000019"
        foreign.mkdir()
        (foreign / "total.json").write_text("9999")
        manifest = json.loads((sound / "manifest.json").read_text())
        (foreign / "manifest.json").write_text(json.dumps({**manifest, "run": "another"}))
        os.kill(pid, signal.SIGKILL)
        job = await bench.over("j")
    assert job.result == {"total": 210, "resumed_from": int(sound.name[5:])}


async def test_a_killed_runner_takes_its_child_with_it_and_another_goes_on(bench: Bench) -> None:
    await bench.submit(bench.jobs(), "j", steps=40, stay=12)
    with bench.runner(lease=5) as first:
        child = await bench.at(12)
        first.kill()
        await bench.until(lambda: gone(child))
    await bench.lapse()
    async with running(bench.jobs()):
        job = await bench.over("j")
    assert job.result is not None
    assert (job.result["total"], job.token, job.losses) == (820, 2, 1)
    assert job.result["resumed_from"] == 10
    assert bench.results() == {derived_id("j", "imece.audit.recorded.v1", 0)}


async def test_a_runner_that_slept_past_its_lease_is_fenced(bench: Bench) -> None:
    await bench.submit(bench.jobs(), "j", steps=100, stay=12)
    with bench.runner(lease=2) as sleeper:
        child = await bench.at(12)
        await asyncio.to_thread(bench.freeze, sleeper.pid)
        async with running(bench.jobs()):
            await bench.until(lambda: any(token == 2 for token, _, _ in bench.steps()))
            assert not gone(child)
            sleeper.send_signal(signal.SIGCONT)
            await bench.until(lambda: gone(child))
            job = await bench.over("j")
        sleeper.terminate()
        await asyncio.to_thread(sleeper.wait)
    assert job.result is not None
    assert (job.result["total"], job.token) == (5050, 2)
    assert bench.results() == {derived_id("j", "imece.audit.recorded.v1", 0)}


async def test_a_job_may_go_from_one_slot_of_a_runner_to_another(bench: Bench) -> None:
    jobs = bench.jobs(slots=2)
    async with running(jobs):
        await bench.submit(jobs, "j", steps=60, stay=1)
        await bench.until(lambda: bool(bench.steps()))
        while (await bench.get("j")).token < 2:
            await bench.lapse()
            await asyncio.sleep(0.2)
        job = await bench.over("j")
        await bench.submit(jobs, "next")
        following = await bench.over("next")
    assert (job.state, following.state) == ("succeeded", "succeeded")
    assert len(bench.results()) == 2


async def test_a_stopping_runner_hands_its_job_over_at_once(bench: Bench) -> None:
    await bench.submit(bench.jobs(), "j", steps=30, stay=7)
    with bench.runner(lease=30) as first:
        await bench.at(7)
        first.terminate()
        await asyncio.to_thread(first.wait)
    released = await bench.get("j")
    assert (released.state, released.failures, released.losses) == ("queued", 0, 0)
    async with running(bench.jobs()):
        job = await bench.over("j")
    assert job.result is not None
    assert job.result["total"] == 465
    assert [step for _, step, _ in bench.steps()] == list(range(1, 31)), "no step twice"


@pytest.mark.parametrize("mode", ["", "deaf"])
async def test_a_running_job_is_cancelled_even_if_it_is_deaf(bench: Bench, mode: str) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=100_000, mode=mode)
    async with running(jobs):
        await bench.until(lambda: len(bench.steps()) >= 3)
        await bench.until(lambda: "running" in bench.recorder.states("j"))
        child = bench.steps()[0][2]
        await jobs.on_cancel(new(JobCancelRequested(job="j", by="ayşe"), "upstream"))
        await bench.over("j")
    assert (await bench.get("j")).state == "cancelled"
    assert gone(child)
    assert bench.recorder.states("j") == ["queued", "running", "cancelling", "cancelled"]
    assert bench.recorder.events("audit") == []


async def test_a_queued_job_is_cancelled_without_ever_running(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j")
    await jobs.on_cancel(new(JobCancelRequested(job="j"), "upstream"))
    await jobs.on_cancel(new(JobCancelRequested(job="of-another-service"), "upstream"))
    assert await jobs.run_once() is None
    await jobs.announce()
    assert bench.recorder.states("j") == ["queued", "cancelled"]


async def test_a_job_that_takes_too_long_is_killed_and_says_so(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=100_000, mode="deaf", timeout_seconds=1)
    await jobs.run_once()
    job = await bench.get("j")
    assert job.failure is not None
    assert (job.state, job.failure.reason, job.token) == ("failed", "timed_out", 1)


async def test_a_job_out_of_memory_is_tried_again_with_smaller_parts(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", mode="small-memory")
    async with running(jobs):
        job = await bench.over("j")
    assert (job.state, job.token, job.request["split"]) == ("succeeded", 3, 4)


async def test_a_child_that_the_kernel_killed_for_memory_is_tried_again_with_smaller_parts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([oom.Seen("/sys/fs/cgroup/memory.events", n, "512 MiB") for n in (0, 1)])
    monkeypatch.setattr(oom, "read", lambda: next(readings, None))
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=20, stay=7)
    attempt = asyncio.create_task(jobs.run_once())
    os.kill(await bench.at(7), signal.SIGKILL)
    waiting = await attempt
    async with running(jobs):
        job = await bench.over("j")
    assert waiting is not None
    assert waiting.state == "retry-wait"
    assert waiting.failure is not None
    assert waiting.failure.reason == "oom_killed"
    assert "memory.events (limit 512 MiB)" in waiting.failure.message
    assert (job.state, job.token, job.request["split"]) == ("succeeded", 2, 2)


async def test_a_child_without_a_sign_of_life_is_killed_and_tried_again(bench: Bench) -> None:
    jobs = bench.jobs(silence_seconds=1)
    await bench.submit(jobs, "j", mode="hang")
    waiting = await jobs.run_once()
    async with running(bench.jobs()):  # with no limit that a slow start could exceed
        job = await bench.over("j")
    assert waiting is not None
    assert waiting.state == "retry-wait"
    assert waiting.failure is not None
    assert waiting.failure.reason == "stalled"
    assert (job.state, job.token) == ("succeeded", 2)


async def test_a_job_that_nobody_begins_in_time_fails(bench: Bench) -> None:
    jobs = bench.jobs(start_seconds=0.01)
    await bench.submit(jobs, "j")
    await asyncio.sleep(0.05)
    await jobs.announce()
    job = await bench.get("j")
    assert job.failure is not None
    assert (job.state, job.failure.reason) == ("failed", "start_timed_out")
    assert bench.recorder.states("j") == ["queued", "failed"]


async def test_the_most_urgent_job_runs_first(bench: Bench) -> None:
    jobs = bench.jobs()
    for job, priority in (("late", -1), ("normal", 0), ("urgent", 7)):
        await bench.submit(jobs, job, steps=1, priority=priority)
    ran = [await jobs.run_once() for _ in range(3)]
    assert [job.id for job in ran if job] == ["urgent", "normal", "late"]


async def test_progress_is_announced_while_the_job_runs(bench: Bench) -> None:
    jobs = bench.jobs()
    await bench.submit(jobs, "j", steps=100_000)

    def seen() -> bool:
        return any(event["data"]["progress"] for event in bench.recorder.events("job.state"))

    async with running(jobs):
        await bench.until(seen)
        await jobs.on_cancel(new(JobCancelRequested(job="j"), "upstream"))
        await bench.over("j")


async def test_a_finished_job_is_announced_after_a_crash_before_its_announcement(
    bench: Bench,
) -> None:
    async def refuse(*_: Any) -> None:
        raise UnavailableError("no broker at 127.0.0.1:1")

    crashed = bench.jobs(publish=refuse)
    await bench.submit(crashed, "j")
    await crashed.run_once()
    await crashed.announce()
    assert bench.recorder.events() == []
    await asyncio.sleep(0.3)  # others' changes are left to them for at most one lease
    restarted = bench.jobs(lease_seconds=0.2)
    await restarted.announce()
    await restarted.announce()
    assert [event["topic"] for event in bench.recorder.events()] == [
        "imece.audit.recorded.v1",
        "imece.job.state.v1",
    ]


async def test_a_crash_between_result_and_state_repeats_the_same_ids(bench: Bench) -> None:
    sent: list[str] = []

    async def half(*events: Any) -> None:
        sent.extend(event.id for event in events)
        await bench.recorder.publish(*events)
        if len(sent) == 1:
            raise UnavailableError("the broker went away")

    await bench.submit(bench.jobs(), "j")
    jobs = bench.jobs(publish=half)
    await jobs.run_once()
    await jobs.announce()
    await jobs.announce()
    result = derived_id("j", "imece.audit.recorded.v1", 0)
    assert sent[:2] == [result, result]
    assert len(sent) == 3
