"""The queue of a service: submit, cancel, and the loop that runs jobs and announces them."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from imece.errors import UnavailableError
from imece.events import Envelope, JobCancelRequested
from imece.runtime.database import Database
from imece.runtime.jobs import metrics, store
from imece.runtime.jobs.announce import Announcer, Failures, Kind, Results, nothing
from imece.runtime.jobs.attempt import Attempt, Limits
from imece.runtime.jobs.devices import Devices
from imece.runtime.jobs.launch import Launcher
from imece.runtime.jobs.model import Job, JobRequest, RetryPolicy
from imece.runtime.jobs.process import Processes

log = structlog.get_logger()


class Jobs:
    """Durable jobs of one service: rows in its database, children on this machine."""

    def __init__(
        self,
        database: Database,
        publish: Callable[..., Awaitable[None]],
        *,
        service: str,
        kind: Kind,
        module: str,
        folder: Path,
        results: Results,
        failures: Failures = nothing,
        lease_seconds: float = 30,
        max_attempts: int = 5,
        retry_seconds: float = 5,
        start_seconds: float | None = None,
        silence_seconds: float | None = None,
        slots: int = 1,
        poll_seconds: float = 1,
        env: Mapping[str, str] | None = None,
        devices: Devices | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Remember how to run; nothing starts before `run`.

        `module` is run as ``python -m``; `folder` holds the attempts and has to be shared by all
        runners for a job to resume on another machine. A job that no attempt began within
        `start_seconds` fails; a child without a sign of life for `silence_seconds` is killed and
        tried again. Without a `launcher` attempts are processes here. `results` and `failures` are
        pure: they may be asked again for the same job and have to give the same events.
        """
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._database = database
        self._publish = publish
        self._service = service
        self._slots = slots
        self._poll = poll_seconds
        self._policy = RetryPolicy(
            max_attempts=max_attempts, first_delay=retry_seconds, start_seconds=start_seconds
        )
        self._limits = Limits(lease=lease_seconds, silence=silence_seconds)
        self._module, self._folder, self._env = module, folder, dict(env or {})
        self._devices = devices
        self._launcher = launcher or Processes()
        self._announcer = Announcer(service, kind, results, failures)
        self._claimable = asyncio.Event()
        self._changed = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._attempts: dict[str, Attempt] = {}

    async def submit(self, cause: Envelope[Any], request: JobRequest) -> None:
        """Queue a job because of `cause`; see `queue`."""
        await self.queue(request, cause.traceparent)

    async def queue(self, request: JobRequest, traceparent: str | None = None) -> None:
        """Queue a job; the first write of an id wins.

        Returns when the row is durable. Its state is announced at once if the broker answers, else
        by the loop later. `UnavailableError` when the database does not answer.
        """
        async with self._publishing:
            await self._database.run(store.submit, request, traceparent, self.owner, time.time())
            await self._announce(request.id)
        self._claimable.set()

    async def on_cancel(self, event: Envelope[JobCancelRequested]) -> None:
        """Cancel a job of this service; one that waits ends at once, others' are ignored."""
        await self.cancel(event.data.job, event.data.by)

    async def cancel(self, job_id: str, by: str) -> None:
        """Cancel a job if there is one of that id and it has not ended."""
        async with self._publishing:
            job = await self._database.run(store.cancel, job_id, self.owner, time.time())
            if job is None:
                return
            await self._announce(job_id)
        log.info("job.cancel", job=job_id, by=by, state=job.state)
        if attempt := self._attempts.get(job_id):
            attempt.hurry.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run and announce jobs until `stop`; then hand a running one back to the queue."""
        async with asyncio.TaskGroup() as group:
            slots = [group.create_task(self._slot(stop)) for _ in range(self._slots)]
            announcing = group.create_task(self._announcing())
            await asyncio.wait(slots)
            async with self._publishing:  # between publishing and marking it would publish again
                announcing.cancel()
        await self._announce_now()

    async def run_once(self, stop: asyncio.Event | None = None) -> Job | None:
        """Claim and run one job to the end of its attempt; None when nothing was claimable.

        Where `devices` were given, the job holds as many as it wants meanwhile. While they are not
        free at once nothing is claimed, so that small jobs do not keep a large one waiting for
        ever; one that wants more than this machine has is left to others.
        """
        if self._devices is None:
            return await self._run_on({}, stop)
        most = await asyncio.to_thread(self._devices.most)
        wanted = await self._database.run(store.next_up, time.time(), most)
        if wanted is None:
            return None
        with ExitStack() as held:
            env = await asyncio.to_thread(held.enter_context, self._devices.hold(wanted.devices))
            return None if env is None else await self._run_on(env, stop, wanted.id)

    async def _run_on(
        self, env: Mapping[str, str], stop: asyncio.Event | None, only: str | None = None
    ) -> Job | None:
        # Under the lock, so that "queued" is announced before "running" replaces it.
        async with self._publishing:
            claimed = await self._database.run(
                store.claim, self.owner, time.time(), self._limits.lease, self._policy, only=only
            )
        self._changed.set()
        if claimed is None:
            return None
        job, lost = claimed
        if lost:
            metrics.LEASE_LOST.labels(self._service).inc()
        attempt = Attempt(
            job,
            self._database,
            self._announcer,
            self._policy,
            self._limits,
            launcher=self._launcher,
            changed=self._changed,
            stop=stop or asyncio.Event(),
        )
        self._attempts[job.id] = attempt
        try:
            ended = await attempt.run(self._folder, self._module, {**self._env, **env})
        finally:
            # Another slot may have taken the job over when this one's lease had lapsed.
            if self._attempts.get(job.id) is attempt:
                del self._attempts[job.id]
            self._changed.set()
        self._count(ended)
        return ended or job

    async def announce(self) -> None:
        """Publish every change that was not published yet, oldest first, each job in order."""
        await self._database.run(store.expire, self.owner, time.time(), self._policy)
        patience = min(5.0, self._limits.lease)
        waiting = await self._database.run(store.unannounced, self.owner, time.time(), patience)
        for job in waiting:
            async with self._publishing:
                await self._announce(job.id)
        counts = await self._database.run(store.counts)
        metrics.show(self._service, counts)

    async def _announce(self, job_id: str) -> None:
        """Publish a job's newest change; where that fails now, the loop tries again.

        The caller holds the lock: an older version must not follow a newer one.
        """
        try:
            job = await self._database.run(store.get, job_id)
            if job is None or job.version <= job.announced:
                return
            consequences = self._announcer.consequences(job)
            if consequences:
                await self._publish(*consequences)
            await self._publish(self._announcer.state(job))
            await self._database.run(store.mark_announced, job)
        except UnavailableError as error:
            log.warning("job.announce_postponed", job=job_id, error=str(error))
        except Exception:
            # A bug in results() of one job may not keep the others from being announced.
            log.exception("job.announce_failed", job=job_id)

    async def _announce_now(self) -> None:
        try:
            await self.announce()
        except UnavailableError as error:
            log.warning("job.announce_postponed", error=str(error))

    async def _slot(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                worked = await self.run_once(stop)
            except UnavailableError as error:
                log.warning("job.claim_postponed", error=str(error))
                worked = None
            if worked is None:
                await _first(self._poll, stop, self._claimable)
                self._claimable.clear()

    async def _announcing(self) -> None:
        while True:
            self._changed.clear()
            await self._announce_now()
            await _first(self._poll, self._changed)

    def _count(self, ended: Job | None) -> None:
        if ended is None:
            metrics.LEASE_LOST.labels(self._service).inc()
        elif store.is_over(ended):
            metrics.SECONDS.labels(self._service, ended.state).observe(ended.spent_seconds)


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, at most `seconds`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
