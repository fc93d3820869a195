"""Runners that are killed, frozen and restarted at random; a database that is locked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from sqlalchemy import Connection, create_engine, select, text

from imece.runtime.database import Database
from imece.runtime.jobs import Job, store
from imece.runtime.jobs.model import RetryPolicy, Succeeded
from tests.integration.job_runner import ROOT

LEASE, SLOTS = 2.0, 2
OPTIONS = {"module": "tests.bench.jobs_work", "slots": SLOTS, "max_attempts": 1000}


class Runners:
    """Some runner processes of one queue."""

    def __init__(self, url: str, folder: Path, record: Path, number: int) -> None:
        self._command = [
            *(sys.executable, "-m", "tests.integration.job_runner", url, str(folder / "jobs")),
            *(str(record), str(LEASE), json.dumps(OPTIONS)),
        ]
        self.log = folder / "runners.log"
        self.processes = [self._start() for _ in range(number)]

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)

    async def kill(self, which: int, number: signal.Signals) -> None:
        """End one by a signal and start another in its place."""
        self.processes[which].send_signal(number)
        await asyncio.to_thread(self.processes[which].wait)
        self.processes[which] = self._start()

    async def freeze(self, which: int, seconds: float, *, children: bool) -> None:
        """Stop one, as a machine that hangs does, and let it go on."""
        found = [psutil.Process(self.processes[which].pid)]
        if children:
            found += found[0].children(recursive=True)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            if number == signal.SIGSTOP:
                await asyncio.sleep(seconds)

    async def end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            await asyncio.to_thread(process.wait)

    def dead(self) -> list[int]:
        """Return the exit codes of runners that ended by themselves."""
        codes = [process.poll() for process in self.processes]
        return [code for code in codes if code is not None]

    def fenced(self) -> int:
        """Return how many attempts noticed that another had taken their job."""
        return self.log.read_text().count("job.fenced")


class Chaos:
    """One strike after another until `over`."""

    def __init__(self, runners: Runners, url: str, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self._runners, self._url = runners, url
        self._dice = random.Random(seed)

    async def run(self, over: asyncio.Event) -> None:
        strikes = (self._kill, self._kill, self._restart, self._freeze, self._freeze, self._lock)
        while not over.is_set():
            await asyncio.sleep(self._dice.uniform(0.5, 2.5))
            strike = self._dice.choice(strikes)
            self.hits[strike.__name__.strip("_")] += 1
            await strike()

    async def _kill(self) -> None:
        await self._runners.kill(self._which(), signal.SIGKILL)

    async def _restart(self) -> None:
        await self._runners.kill(self._which(), signal.SIGTERM)

    async def _freeze(self) -> None:
        seconds = self._dice.uniform(LEASE * 1.3, LEASE * 2)
        children = self._dice.random() < 0.5
        await self._runners.freeze(self._which(), seconds, children=children)

    async def _lock(self) -> None:
        await asyncio.to_thread(lock, self._url, self._dice.uniform(1, 4))

    def _which(self) -> int:
        return self._dice.randrange(len(self._runners.processes))


def lock(url: str, seconds: float) -> None:
    """Keep everyone else from the job table for so long."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA busy_timeout=30000")
                connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
                connection.exec_driver_sql("BEGIN EXCLUSIVE")
            else:
                connection.execute(text("LOCK TABLE trainer.job IN ACCESS EXCLUSIVE MODE"))
            time.sleep(seconds)
            connection.rollback()
    finally:
        engine.dispose()


class Impostor:
    """Tries to write results with tokens that others have taken over since."""

    def __init__(self, database: Database) -> None:
        self.tries = self.accepted = 0
        self._database = database

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            for job in await self._database.run(_running):
                stale = replace(job, token=job.token - 1)
                done = await self._database.run(
                    store.finish, stale, Succeeded({"total": -1}), time.time(), RetryPolicy()
                )
                self.tries += 1
                self.accepted += done is not None
            await asyncio.sleep(0.5)


def _running(connection: Connection) -> list[Job]:
    statement = select(store.JOB.c.id).where(store.JOB.c.state == "running")
    found = [store.get(connection, name) for name in connection.execute(statement).scalars()]
    return [job for job in found if job is not None and job.token > 1]
