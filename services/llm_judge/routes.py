"""Kafka handlers of the judge, and the worker that asks the model."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection

from imece.errors import UnavailableError
from imece.events import (
    Envelope,
    JudgementCompleted,
    JudgementRequested,
    ReviewRequested,
    derived_id,
)
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.delivery import Subscription, batch
from services.llm_judge import probes, store
from services.llm_judge.cascade import Cascade, Judged
from services.llm_judge.people import questions

log = structlog.get_logger()
SOURCE = "imece/llm-judge"
LONGEST_PARK = 300.0
JUDGED = Counter("imece_judgements", "Judgements by verdict", ["verdict"])
FLIPS = Counter("imece_judge_flips", "Verdicts whose two orders disagreed")
MONEY = Counter("imece_judge_money", "What verdicts cost, in the currency of the prices")
PARKED = Counter("imece_judge_parked", "Requests put aside until trouble passes")
VOIDED = Counter("imece_judge_void_batches", "Batches whose known-answer probes failed")


@dataclass
class _Batch:
    """Judgements that stand or fall together with the probes asked beside them."""

    judged: list[tuple[str, Judged]] = field(default_factory=list)
    size: int = 0
    done: int = 0
    sealed: bool = False

    def add(self, claimed: Sequence[store.Stored], slots: int, most: int) -> None:
        """Take members; it is sealed when it is full or nothing more waits."""
        self.size += len(claimed)
        self.sealed = self.size > 0 and (self.size >= most or len(claimed) < slots)

    @property
    def complete(self) -> bool:
        return self.sealed and self.done >= self.size


class Judging:
    """Keeps requests durably at once, and judges them in the background."""

    def __init__(
        self,
        database: Database,
        publish: Publish,
        cascade: Callable[[], Cascade | None],
        *,
        concurrency: int,
        lease_seconds: float,
        poll_seconds: float,
        patience_seconds: float = 0,
        probes: int = 0,
        batch: int = 32,
        mark: Callable[[JudgementCompleted], JudgementCompleted] = lambda verdict: verdict,
    ) -> None:
        """`cascade` says whom to ask, None as long as nobody can be asked.

        Passing trouble parks a request until `patience_seconds` after it came. A batch of at most
        `batch` judgements is void when one of its `probes` is answered wrong. `mark` has the last
        word on a verdict that stands.
        """
        self._database, self._publish, self._cascade = database, publish, cascade
        self._concurrency, self._lease, self._poll = concurrency, lease_seconds, poll_seconds
        self._patience, self._probes, self._most = patience_seconds, probes, batch
        self._mark = mark
        self._owner = uuid.uuid4().hex
        self._chance = random.Random()
        self._held: dict[str, tuple[Mapping[str, str], int]] = {}
        self._batch = _Batch()
        self._wake = asyncio.Event()

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the judge consumes."""
        return (batch(JudgementRequested, self.on_requests),)

    async def on_requests(self, events: Sequence[Envelope[JudgementRequested]]) -> None:
        judged = await self._database.run(store.add, events, time.time())
        await self._publish(*(event for each in judged for event in announcements(each)))
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
            await self._publish(*(event for each in waiting for event in announcements(each)))
            await self._database.run(store.mark_announced, [each.id for each in waiting])

    async def _start(self, slots: int) -> set[asyncio.Task[None]]:
        cascade = self._cascade()
        if cascade is None or slots <= 0:
            return set()
        if self._batch.sealed:
            self._batch = _Batch()
        current = self._batch
        claimed = await self._database.run(
            store.claim, self._owner, time.time(), self._lease, slots
        )
        current.add(claimed, slots, self._most)
        if not claimed and current.complete:
            return {asyncio.create_task(self._close(cascade, current))}
        return {asyncio.create_task(self._judge(cascade, each, current)) for each in claimed}

    async def _judge(self, cascade: Cascade, each: store.Stored, current: _Batch) -> None:
        try:
            known, constant = await self._database.run(_remembered, cascade, each.request)
            held, parked = self._held.pop(each.id, ({}, 0))
            judged = await cascade.judge(each.request, {**known, **held}, constant)
            judged = replace(judged, fresh={**held, **judged.fresh})
            if judged.again is not None and time.time() < each.arrived + self._patience:
                until = time.time() + parked_for(parked, judged.again)
                await self._database.run(store.park, each.id, until)
                # One order may have had its answer.
                self._held[each.id] = judged.fresh, parked + 1
                PARKED.inc()
            else:
                current.judged.append((each.id, judged))
        except UnavailableError as error:
            log.warning("judge.postponed", item=each.request.item, error=str(error))
        finally:
            current.done += 1
        if current.complete:
            await self._close(cascade, current)

    async def _close(self, cascade: Cascade, current: _Batch) -> None:
        """Keep the verdicts of a complete batch, or void them all."""
        asked = any(judged.verdict.usage.calls for _, judged in current.judged)
        void = asked and await self._probes_fail(cascade)
        kept = await self._database.run(
            _keep,
            [(id, _voided(judged) if void else judged) for id, judged in current.judged],
            self._mark,
        )
        for verdict in kept:
            JUDGED.labels(verdict.verdict).inc()
            if verdict.first_order != verdict.second_order and verdict.verdict != "unscored":
                FLIPS.inc()
            MONEY.inc(verdict.usage.money or 0)
            log.info(
                "judge.verdict", item=verdict.item, verdict=verdict.verdict, why=verdict.reason
            )
        self._wake.set()

    async def _probes_fail(self, cascade: Cascade) -> bool:
        asked = probes.draw(self._probes, self._chance)
        told = await asyncio.gather(*(cascade.judge(request) for request, _ in asked))
        pairs = [(j.verdict.verdict, known) for j, (_, known) in zip(told, asked, strict=True)]
        if void := probes.failed(pairs):
            VOIDED.inc()
            log.error("judge.batch_void", probes=pairs)
        return void

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


def _remembered(
    connection: Connection, cascade: Cascade, request: JudgementRequested
) -> tuple[dict[str, str], list[str]]:
    known = store.replies(connection, cascade.keys(request))
    return known, store.constant_sides(connection, request)


def _keep(
    connection: Connection,
    judged: Sequence[tuple[str, Judged]],
    mark: Callable[[JudgementCompleted], JudgementCompleted],
) -> list[JudgementCompleted]:
    """Keep verdicts and the replies behind them; return the verdicts that stand."""
    now = time.time()
    kept = []
    for id, each in judged:
        store.add_replies(connection, each.fresh, now)
        stored = store.keep(connection, id, mark(each.verdict), now).verdict
        assert stored is not None
        kept.append(stored)
    return kept


def _voided(judged: Judged) -> Judged:
    """Return the judgement without its verdict; the replies behind it are not remembered."""
    if judged.verdict.verdict == "unscored":
        return judged
    void: dict[str, object] = {
        "verdict": "unscored",
        "reason": "probe_failed: the judge got a known answer wrong in this batch",
        "confidence": None,
        "score": None,
        "scores": (),
        "flags": (*judged.verdict.flags, "void"),
    }
    return Judged(judged.verdict.model_copy(update=void))


def parked_for(before: int, asked: float) -> float:
    """Return the seconds until the next try: as asked, and twice as long each time it fails."""
    return max(asked, min(asked * 2.0 ** min(before, 30), LONGEST_PARK))


def announcements(stored: store.Stored) -> list[Envelope[Any]]:
    """Return the events of a verdict, the same each time: itself, and what people may be asked."""
    verdict, judged = stored.verdict, stored.judged
    assert verdict is not None
    assert judged is not None
    id = derived_id(stored.id, JudgementCompleted.topic.name)
    told: list[Envelope[Any]] = [Envelope(verdict, id, SOURCE, judged, stored.traceparent)]
    for asked in questions(stored.id, stored.request, verdict):
        id = derived_id(asked.item, ReviewRequested.topic.name)
        told.append(Envelope(asked, id, SOURCE, judged, stored.traceparent))
    return told
