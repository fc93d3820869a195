"""Many small jobs while runners are killed, frozen and restarted and the database is locked.

``python -m tests.bench.jobs [--quick] [--jobs N] --json FILE``; a database that fails leaves its
rows empty, with the reason, and not those of the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from imece.errors import RejectedError
from imece.events import JobCancelRequested, new
from imece.runtime.artifacts import Artifacts
from imece.runtime.checkpoints import Checkpoints
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest, store
from imece.runtime.jobs.runner import Jobs
from tests.bench.jobs_chaos import LEASE, SLOTS, Chaos, Impostor, Runners
from tests.bench.jobs_work import unbroken
from tests.bench.results import Result, Row
from tests.integration import postgres
from tests.integration.job_runner import Recorder, make_database, make_jobs
from tests.integration.test_jobs import CAUSE

SEED, RUNNERS, STEPS, EVERY, CANCELLED = 20261124, 3, 20, 5, 10
ENDS = ("succeeded", "failed", "cancelled")
BARS = {
    "lost": ("jobs", "0", 0.0),
    "doubled": ("jobs", "0", 0.0),
    "stale_accepted": ("results", "0", 0.0),
    "half_written": ("folders", "0", 0.0),
    "repeated_steps_max": ("steps", f"<= {EVERY}, one checkpoint interval", float(EVERY)),
    "resume_loss_gap": ("loss", "0", 0.0),
    "cancel_s": ("s", "<= 5", 5.0),
    "progress_age_s": ("s", "<= 5", 5.0),
}


@dataclass
class Found:
    """What one run on one database showed."""

    values: dict[str, float] = field(default_factory=dict)
    note: str = ""
    missing: str = ""

    def rows(self, name: str) -> Iterable[Row]:
        for row, (unit, bar, limit) in BARS.items():
            value = self.values.get(row)
            holds = None if value is None else value <= limit
            yield Row(f"jobs.{row}.{name}", value, unit, bar, holds, note=self.missing or self.note)


@dataclass
class Place:
    """Where one run keeps its things."""

    folder: Path
    url: str
    jobs: int

    @property
    def record(self) -> Path:
        return self.folder / "events.jsonl"

    def request(self, number: int, steps: int = STEPS) -> JobRequest:
        name = f"job-{number:03d}"
        request = {
            "steps": steps,
            "every": EVERY,
            "seconds": 0.05,
            "trace": str(self.folder / "traces" / name),
            "artifacts": str(self.folder / "artifacts"),
        }
        return JobRequest(id=name, model=f"m{number}", request=request)


def found_on(place: Place) -> Found:
    """Measure one database; where that breaks off, say why in each of its rows."""
    try:
        return asyncio.run(measure(place))
    except Exception as error:
        traceback.print_exc()
        return Found(missing=f"broke off, {type(error).__name__}: {error}"[:500])


async def measure(place: Place) -> Found:
    """Run all jobs through the chaos, then cancel some in peace; count what went wrong."""
    (place.folder / "traces").mkdir(parents=True)
    async with make_database(place.url) as database:
        recorder = Recorder(place.record)
        jobs = make_jobs(database, recorder.publish, place.folder / "jobs", lease_seconds=LEASE)
        for number in range(place.jobs):
            await jobs.submit(CAUSE, place.request(number))
        runners = Runners(place.url, place.folder, place.record, RUNNERS)
        try:
            found = await _storm(place, database, runners)
            assert not runners.dead(), f"runners ended by themselves: {runners.log.read_text()}"
            calm = await _calm(place, database, jobs)
        finally:
            await runners.end()
        await jobs.announce()
        ended = [await database.run(store.get, place.request(n).id) for n in range(place.jobs)]
    found.values |= _counts(place, [job for job in ended if job is not None]) | calm
    found.note += f", {runners.fenced()} attempts fenced"
    return found


async def _storm(place: Place, database: Database, runners: Runners) -> Found:
    began, over = time.monotonic(), asyncio.Event()
    chaos, impostor = Chaos(runners, place.url, SEED), Impostor(database)
    async with asyncio.TaskGroup() as group:
        group.create_task(chaos.run(over))
        group.create_task(impostor.run(over))
        await _until_over(database, began + 900)
        over.set()
    hits = ", ".join(f"{count} x {name}" for name, count in sorted(chaos.hits.items()))
    seconds = time.monotonic() - began
    note = f"{place.jobs} jobs in {seconds:.0f} s; {hits}; {impostor.tries} stale writes refused"
    return Found({"stale_accepted": impostor.accepted}, note)


async def _until_over(database: Database, deadline: float) -> None:
    while time.monotonic() < deadline:
        counts = await database.run(store.counts)
        if not set(counts) - set(ENDS):
            return
        await asyncio.sleep(0.5)


async def _calm(place: Place, database: Database, jobs: Jobs) -> dict[str, float]:
    """Measure how old the announced progress gets, and how long a cancel takes."""
    names = []
    for number in range(place.jobs, place.jobs + CANCELLED):
        request = place.request(number, steps=100_000)
        names.append(request.id)
        await jobs.submit(CAUSE, request)
    oldest, cancels = 0.0, []
    slots = RUNNERS * SLOTS
    for batch in (names[:slots], names[slots:]):
        await _until_stepping(place, batch)
        oldest = max(oldest, await _oldest_progress(place, batch, 12))
        cancels += await asyncio.gather(*(_cancel(database, jobs, name) for name in batch))
    return {"cancel_s": max(cancels), "progress_age_s": oldest}


async def _until_stepping(place: Place, names: list[str]) -> None:
    deadline = time.monotonic() + 120
    while not all((place.folder / "traces" / name).exists() for name in names):
        assert time.monotonic() < deadline, f"{names} do not all run"
        await asyncio.sleep(0.1)
    await asyncio.sleep(4)  # the first progress of each is out


async def _oldest_progress(place: Place, names: list[str], seconds: float) -> float:
    """Return the longest that the newest announced step of a job was behind the clock."""
    oldest, heard = 0.0, {name: (-1, time.monotonic()) for name in names}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in Recorder(place.record).events("job.state"):
            data = event["data"]
            if data["job"] in heard and data["version"] > heard[data["job"]][0]:
                heard[data["job"]] = (data["version"], time.monotonic())
        oldest = max(oldest, *(time.monotonic() - at for _, at in heard.values()))
        await asyncio.sleep(0.2)
    return oldest


async def _cancel(database: Database, jobs: Jobs, name: str) -> float:
    began = time.monotonic()
    await jobs.on_cancel(new(JobCancelRequested(job=name), "bench"))
    while time.monotonic() < began + 120:
        job = await database.run(store.get, name)
        if job is not None and job.state in ENDS:
            assert job.state == "cancelled", job
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} is not cancelled after 120 s")


def _counts(place: Place, ended: list[Job]) -> dict[str, float]:
    told = _told(place)
    results = [job.result for job in ended if job.result is not None]
    stale = [job for job in ended if job.result and job.result.get("token") != job.token]
    if stale:
        raise AssertionError(f"results of stale attempts: {[job.id for job in stale]}")
    lost = [j for j in ended if j.state != "succeeded" or set(told[j.id].ends) != {"succeeded"}]
    lost += [job for job in ended if not told[job.id].results]
    expected = unbroken(STEPS)
    gaps = [abs(a - b) for r in results for a, b in zip(r["losses"], expected, strict=True)]
    return {
        "lost": place.jobs - len(ended) + len({job.id for job in lost}),
        "doubled": sum(each.doubled for each in told.values()),
        "half_written": _half_written(place, results, ended),
        "repeated_steps_max": max(_repeats(place)),
        "resume_loss_gap": max(gaps),
    }


@dataclass
class Told:
    """What the topics hold of one job, repeats of one id folded."""

    ends: dict[str, int] = field(default_factory=dict)
    results: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def doubled(self) -> bool:
        """Tell whether it ended twice or one result says two things."""
        once = len(self.results) <= 1 and all(len(each) == 1 for each in self.results.values())
        return len(self.ends) > 1 or not once


def _told(place: Place) -> dict[str, Told]:
    found: dict[str, Told] = defaultdict(Told)
    versions: dict[tuple[str, str], set[int]] = defaultdict(set)
    for event in Recorder(place.record).events():
        data: dict[str, Any] = event["data"]
        if "job.state" not in event["topic"]:
            found[data["subject"]].results[event["id"]].add(json.dumps(data, sort_keys=True))
        elif data["state"] in ENDS:
            found[data["job"]].ends[data["state"]] = 1
            versions[data["job"], data["state"]].add(data["version"])
    for (job, state), each in versions.items():
        if len(each) > 1:
            found[job].ends[f"{state} again"] = len(each)
    return found


def _half_written(place: Place, results: list[dict[str, Any]], ended: list[Job]) -> int:
    """Count results whose artifacts do not verify, and visible checkpoints that are not whole."""
    broken, store_ = 0, Artifacts(str(place.folder / "artifacts"))
    for result in results:
        try:
            store_.fetch_folder(result["uri"], result["digest"], place.folder / "copies")
        except RejectedError:
            broken += 1
    for job in ended:
        for folder in (place.folder / "jobs" / job.id).glob("*/checkpoints"):
            whole = Checkpoints(job.id, folder)
            broken += any(folder.glob("step-*")) and whole.newest() is None
    return broken


def _repeats(place: Place) -> Iterable[int]:
    """Yield, for each resumed attempt, how many steps that had been made it made again."""
    yield 0
    for path in (place.folder / "traces").iterdir():
        reached: dict[int, int] = {}
        for line in path.read_text().splitlines():
            token, step, first = map(int, line.split())
            if token not in reached:
                yield max((*reached.values(), first)) - first
            reached[token] = step


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="60 jobs in place of 200")
    options.add_argument("--json", type=Path, help="where to write the figures")
    options.add_argument("--jobs", type=int, help="how many")
    given = options.parse_args()
    began, number = time.monotonic(), given.jobs or (60 if given.quick else 200)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="imece-jobs-", ignore_cleanup_errors=True) as name:
        place = Place(Path(name) / "sqlite", f"sqlite:///{name}/sqlite/jobs.db", number)
        rows += found_on(place).rows("sqlite")
        folder = postgres.binaries()
        if folder is None:
            rows += Found(missing=postgres.MISSING).rows("postgresql")
        else:
            with postgres.server(folder) as url:
                rows += found_on(Place(Path(name) / "postgresql", url, number)).rows("postgresql")
    result = Result("jobs", time.monotonic() - began, given.quick, tuple(rows))
    result.write(given.json, Console())


if __name__ == "__main__":
    main()
