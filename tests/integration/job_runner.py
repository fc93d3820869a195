"""A service with nothing but jobs, as a process that tests may kill: publishes to a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from imece.events import AuditRecorded, Envelope, Event, Failure
from imece.runtime.database import Database
from imece.runtime.jobs import Job, store
from imece.runtime.jobs.runner import Jobs

ROOT = Path(__file__).parents[2]


def results(job: Job, result: dict[str, Any]) -> Sequence[Event]:
    if result["total"] == 0:
        raise ValueError("a total of 0 is no result")
    return (audit(job, "finished", f"total {result['total']}"),)


def failures(job: Job, failure: Failure) -> Sequence[Event]:
    return (audit(job, "failed", failure.reason),)


def audit(job: Job, action: str, detail: str) -> AuditRecorded:
    return AuditRecorded(
        service="trainer", action=action, subject=job.id, actor="runner", detail=detail
    )


def make_jobs(database: Database, publish: Any, folder: Path, **options: Any) -> Jobs:
    settings = {
        "service": "trainer",
        "kind": "training",
        "module": "tests.integration.fake_job",
        "folder": folder,
        "results": results,
        "failures": failures,
        "retry_seconds": 0.05,
        "poll_seconds": 0.1,
        "env": {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"},
    }
    return Jobs(database, publish, **{**settings, **options})


def make_database(url: str) -> Database:
    metadata = MetaData()
    store.define(metadata)
    return Database(url, metadata, "trainer")


class Recorder:
    """A broker that is a file: one JSON line an event, shared by processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    async def publish(self, *events: Envelope[Any]) -> None:
        with self.path.open("a") as file:
            for event in events:
                body = json.loads(event.data.model_dump_json())
                line = {"id": event.id, "topic": event.data.topic.name, "data": body}
                file.write(json.dumps(line) + "\n")

    def events(self, topic: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if topic in line["topic"]]

    def states(self, job: str) -> list[str]:
        """Return the announced states of a job, repeats (progress) folded."""
        found: list[str] = []
        for line in self.events("job.state"):
            state = line["data"]["state"]
            if line["data"]["job"] == job and found[-1:] != [state]:
                found.append(state)
        return found


async def serve(url: str, folder: Path, record: Path, lease: float, **options: Any) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with make_database(url) as database:
        publish = Recorder(record).publish
        await make_jobs(database, publish, folder, lease_seconds=lease, **options).run(stop)


if __name__ == "__main__":
    _, given_url, given_folder, given_record, given_lease, *more = sys.argv
    given_options = json.loads(more[0]) if more else {}
    os.chdir(ROOT)
    asyncio.run(
        serve(
            given_url,
            Path(given_folder),
            Path(given_record),
            float(given_lease),
            **given_options,
        )
    )
