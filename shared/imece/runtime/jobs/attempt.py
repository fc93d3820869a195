"""One attempt at a job: start its child, keep the lease, stop it for cause, write how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from imece.errors import ImeceError, UnavailableError
from imece.events import Progress, encode
from imece.runtime.database import Database
from imece.runtime.jobs import process, store
from imece.runtime.jobs.announce import Announcer
from imece.runtime.jobs.launch import Launcher, Running, Signs
from imece.runtime.jobs.model import Failed, Job, Outcome, RetryPolicy, Succeeded
from imece.runtime.jobs.outcome import decide, failed

log = structlog.get_logger()
Why = Literal["cancelled", "released", "timed_out", "silent", "fenced"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The clockwork of an attempt, in seconds."""

    lease: float = 30
    tick: float = 0.05
    cancel_grace: float = 3
    stop_grace: float = 10
    progress_every: float = 3
    silence: float | None = None
    """A child that neither reports progress nor logs for so long hangs; None: it may."""

    @property
    def beat(self) -> float:
        """How often the row is looked at and the lease renewed."""
        return min(1.0, self.lease / 3)


class Attempt:
    """Supervises one child. `hurry` makes it look at its row now instead of at the next beat."""

    def __init__(
        self,
        job: Job,
        database: Database,
        announcer: Announcer,
        policy: RetryPolicy,
        limits: Limits,
        *,
        launcher: Launcher,
        changed: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        """Remember the claimed job; nothing starts before `run`."""
        self.job = job
        self.hurry = asyncio.Event()
        self._database, self._announcer = database, announcer
        self._policy, self._limits = policy, limits
        self._launcher, self._changed, self._stop = launcher, changed, stop
        self._began = self._counted = self._renewed = time.monotonic()
        self._progressed = 0.0

    async def run(self, folder: Path, module: str, env: Mapping[str, str]) -> Job | None:
        """Run the child to its end and write the outcome; None when the lease was lost."""
        child = await asyncio.to_thread(
            process.start, self.job, folder, module, env, self._launcher
        )
        if isinstance(child, Failed):
            return await self._finish(child)
        self._attempt = process.attempt_folder(self.job, folder)
        self._signs = Signs(self._attempt, time.monotonic())
        log.info("job.start", job=self.job.id, attempt=self.job.token, name=child.name)
        try:
            why = await self._watch(child)
            if why in ("cancelled", "released"):
                await self._wind_down(child, why)
            code = await asyncio.to_thread(child.exit_code)
        finally:
            # Also when this task is cancelled or fails: no child outlives its supervision.
            await asyncio.shield(asyncio.to_thread(child.kill))
        if why == "fenced":
            log.warning("job.fenced", job=self.job.id, attempt=self.job.token)
            return None
        ended = await self._finish(await self._outcome(child, why, code))
        if ended is not None and ended.state == "succeeded":
            await asyncio.to_thread(process.drop_checkpoints, folder, self.job.id)
        return ended

    async def _watch(self, child: Running) -> Why | None:
        """Return why the child has to be stopped, None when it ended by itself."""
        while await asyncio.to_thread(child.exit_code) is None:
            if self._stop.is_set():
                return "released"
            if self.job.spent_seconds + time.monotonic() - self._began > self.job.timeout_seconds:
                return "timed_out"
            if self._is_silent():
                return "silent"
            if self.hurry.is_set() or time.monotonic() - self._renewed >= self._limits.beat:
                self.hurry.clear()
                if (why := await self._beat()) is not None:
                    return why
            await asyncio.sleep(self._limits.tick)
        return None

    def _is_silent(self) -> bool:
        most = self._limits.silence
        return most is not None and self._signs.quiet_seconds(time.monotonic()) > most

    async def _beat(self) -> Why | None:
        progress = await asyncio.to_thread(self._due_progress)
        try:
            state = await self._renew(progress)
        except UnavailableError as error:
            log.warning("job.beat_failed", job=self.job.id, error=str(error))
            # Until the lease lapses nobody else may run the job, so the child may go on.
            lapsed = time.monotonic() - self._renewed > self._limits.lease
            return "fenced" if lapsed else None
        if state is None:
            return "fenced"
        return "cancelled" if state == "cancelling" else None

    async def _renew(self, progress: Progress | None) -> str | None:
        now = time.monotonic()
        state = await self._database.run(
            store.beat,
            self.job,
            time.time(),
            self._limits.lease,
            elapsed=now - self._counted,
            progress=progress,
        )
        self._counted = self._renewed = now
        if progress is not None:
            self._progressed = now
            self._changed.set()
        return state

    def _due_progress(self) -> Progress | None:
        if time.monotonic() - self._progressed < self._limits.progress_every:
            return None
        return self._signs.new_progress()

    async def _wind_down(self, child: Running, why: Why) -> None:
        """Ask the child to save and stop, and wait for it, keeping the lease."""
        await asyncio.to_thread(child.ask_to_stop)
        cancelled = why == "cancelled"
        grace = self._limits.cancel_grace if cancelled else self._limits.stop_grace
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and await asyncio.to_thread(child.exit_code) is None:
            if time.monotonic() - self._renewed >= self._limits.beat:
                await self._beat()
            await asyncio.sleep(self._limits.tick)

    async def _outcome(self, child: Running, why: Why | None, code: int | None) -> Outcome:
        if why == "cancelled":
            return "cancelled"
        if why == "timed_out":
            limit = self.job.timeout_seconds
            return failed("timed_out", f"the job ran longer than {limit} s", retry=False)
        if why == "silent":
            message = f"neither progress nor a log line for {self._limits.silence:g} s"
            return failed("stalled", message, retry=True)
        if why == "released" and code != 0:
            return "released"
        starved = await asyncio.to_thread(child.starved)
        decided = await asyncio.to_thread(decide, self._attempt, self.job.token, code or 0, starved)
        return self._checked(decided)

    def _checked(self, outcome: Outcome) -> Outcome:
        """Refuse a result of which no valid events can be made, before it counts as one."""
        if not isinstance(outcome, Succeeded):
            return outcome
        try:
            for event in self._announcer.results(self.job, outcome.result):
                encode(self._announcer.envelope(self.job, event, "check"))
        except (ImeceError, ValueError, LookupError, TypeError, AttributeError) as error:
            return failed("bad_result", f"{type(error).__name__}: {error}", retry=False)
        return outcome

    async def _finish(self, outcome: Outcome) -> Job | None:
        """Write the outcome, however long the database is away; None when the token is stale."""
        await self._count_time()
        while True:
            try:
                ended = await self._database.run(
                    store.finish, self.job, outcome, time.time(), self._policy
                )
                break
            except UnavailableError as error:
                log.warning("job.finish_postponed", job=self.job.id, error=str(error))
                await asyncio.sleep(self._limits.beat)
        self._changed.set()
        if ended is not None:
            log.info("job.end", job=ended.id, attempt=ended.token, state=ended.state)
        return ended

    async def _count_time(self) -> None:
        try:
            await self._renew(None)
        except UnavailableError as error:
            log.warning("job.beat_failed", job=self.job.id, error=str(error))
