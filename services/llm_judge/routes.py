"""Kafka handlers of the judge, and the worker that asks the model."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter

from imece.errors import UnavailableError
from imece.events import Envelope, JudgementCompleted, JudgementRequested, derived_id
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.delivery import Subscription, batch
from services.llm_judge import store
from services.llm_judge.endpoint import Endpoint

log = structlog.get_logger()
SOURCE = "imece/llm-judge"
JUDGED = Counter("imece_judgements", "Judgements by verdict", ["verdict"])


class Judging:
    """Keeps requests durably at once, and judges them in the background."""

    def __init__(
        self,
        database: Database,
        publish: Publish,
        endpoint: Callable[[], Endpoint | None],
        *,
        concurrency: int,
        lease_seconds: float,
        poll_seconds: float,
    ) -> None:
        """`endpoint` says whom to ask, None as long as nobody can be asked."""
        self._database, self._publish, self._endpoint = database, publish, endpoint
        self._concurrency, self._lease, self._poll = concurrency, lease_seconds, poll_seconds
        self._owner = uuid.uuid4().hex
        self._wake = asyncio.Event()

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the judge consumes."""
        return (batch(JudgementRequested, self.on_requests),)

    async def on_requests(self, events: Sequence[Envelope[JudgementRequested]]) -> None:
        judged = await self._database.run(store.add, events, time.time())
        await self._publish(*(announcement(each) for each in judged))
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Judge until `stop`; what is under way then goes back to the queue."""
        running: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                try:
                    await self.announce()
                    running |= await self._start(self._concurrency - len(running))
                except UnavailableError as error:
                    log.warning("judge.postponed", error=str(error))
                running = await self._breathe(running, stop)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._database.run(store.release, self._owner)

    async def drain(self) -> None:
        """Judge and announce all that waits now, then return."""
        while tasks := await self._start(self._concurrency):
            await asyncio.gather(*tasks)
        await self.announce()

    async def announce(self) -> None:
        """Publish the verdicts that no broker has acknowledged."""
        waiting = await self._database.run(store.unannounced)
        if waiting:
            await self._publish(*(announcement(each) for each in waiting))
            await self._database.run(store.mark_announced, [each.id for each in waiting])

    async def _start(self, slots: int) -> set[asyncio.Task[None]]:
        endpoint = self._endpoint()
        if endpoint is None or slots <= 0:
            return set()
        claimed = await self._database.run(
            store.claim, self._owner, time.time(), self._lease, slots
        )
        return {asyncio.create_task(self._judge(endpoint, each)) for each in claimed}

    async def _judge(self, endpoint: Endpoint, each: store.Stored) -> None:
        verdict = await endpoint.judge(each.request)
        kept = await self._database.run(store.keep, each.id, verdict, time.time())
        assert kept.verdict is not None
        JUDGED.labels(kept.verdict.verdict).inc()
        log.info("judge.verdict", item=verdict.item, verdict=verdict.verdict, why=verdict.reason)

    async def _breathe(
        self, running: set[asyncio.Task[None]], stop: asyncio.Event
    ) -> set[asyncio.Task[None]]:
        """Wait until something is done or asked; return what still runs."""
        signals = [asyncio.ensure_future(event.wait()) for event in (stop, self._wake)]
        try:
            await asyncio.wait(
                [*running, *signals], timeout=self._poll, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for signal in signals:
                signal.cancel()
        self._wake.clear()
        for task in running:
            if task.done() and not task.cancelled() and (error := task.exception()):
                # Its lease lapses, so it is tried again; a bug is told and does not stop others.
                log.error("judge.failed", error=f"{type(error).__name__}: {error}")
        return {task for task in running if not task.done()}


def announcement(stored: store.Stored) -> Envelope[JudgementCompleted]:
    """Return the event of a verdict, the same each time."""
    assert stored.verdict is not None
    assert stored.judged is not None
    id = derived_id(stored.id, JudgementCompleted.topic.name)
    return Envelope(stored.verdict, id, SOURCE, stored.judged, stored.traceparent)
