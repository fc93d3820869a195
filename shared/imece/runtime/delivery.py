"""The only way to consume: at least once, bad messages parked, nothing lost, nothing stuck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog
from aiokafka.structs import ConsumerRecord
from prometheus_client import Counter, Histogram

from imece.client import Producer
from imece.errors import ContractError, RejectedError, UnavailableError
from imece.events import Envelope, Event, dead_topic, decode
from imece.events.base import E

log = structlog.get_logger()
Record: TypeAlias = "ConsumerRecord[bytes, bytes]"
Handler = Callable[[Sequence[Envelope[Any]]], Awaitable[None]]
Backoff = tuple[float, ...]
BACKOFF: Backoff = (0.1, 0.3, 1, 3, 5)
"""Seconds between tries; all tries together stay far below the poll interval."""

EVENTS = Counter("imece_events", "Events by outcome", ["service", "topic", "outcome"])
DEAD = Counter("imece_dead", "Parked messages", ["service", "reason"])
AGE = Histogram(
    "imece_event_age_seconds",
    "Age of events when handled",
    ["service", "topic"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 86_400),
)
TIME = Histogram("imece_handle_seconds", "Time to handle a batch", ["service", "topic"])


@dataclass(frozen=True, slots=True)
class Rejected:
    """What can be read of a message that is no valid event."""

    topic: str
    id: str | None
    source: str | None
    key: str | None
    value: bytes
    reason: str
    message: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic and its handler; `on_rejected` may tell the sender about undecodable messages."""

    event: type[Event]
    handle: Handler
    on_rejected: Callable[[Rejected], Awaitable[None]] | None = None


def batch(
    event: type[E],
    handle: Callable[[Sequence[Envelope[E]]], Awaitable[None]],
    on_rejected: Callable[[Rejected], Awaitable[None]] | None = None,
) -> Subscription:
    """Hand events over as they were fetched, up to 500 at once, in partition order."""
    return Subscription(event, handle, on_rejected)


def each(
    event: type[E],
    handle: Callable[[Envelope[E]], Awaitable[None]],
    on_rejected: Callable[[Rejected], Awaitable[None]] | None = None,
) -> Subscription:
    """Hand events over one by one, in partition order."""

    async def one_by_one(events: Sequence[Envelope[E]]) -> None:
        for envelope in events:
            await handle(envelope)

    return Subscription(event, one_by_one, on_rejected)


@dataclass(frozen=True)
class Delivery:
    """Delivers fetched records of one service to its handlers."""

    service: str
    subscriptions: dict[str, Subscription]
    producer: Producer
    backoff: Backoff = BACKOFF

    async def deliver(self, records: Sequence[Record]) -> None:
        """Handle all records or raise; when it returns their offsets may be committed."""
        by_topic: dict[str, list[Record]] = {}
        for record in records:
            by_topic.setdefault(record.topic, []).append(record)
        for topic, group in by_topic.items():
            with TIME.labels(self.service, topic).time():
                await self._topic(self.subscriptions[topic], group)

    async def _topic(self, subscription: Subscription, records: Sequence[Record]) -> None:
        good: list[tuple[Record, Envelope[Any]]] = []
        age, now = AGE.labels(self.service, records[0].topic), time.time()
        for record in records:
            try:
                event = decode(subscription.event, record.headers, record.key, record.value)
            except ContractError as error:
                await self._refuse(subscription, record, error)
            else:
                age.observe(max(0.0, now - event.time.timestamp()))
                good.append((record, event))
        if good:
            await self._handle(subscription, good)

    async def _handle(
        self, subscription: Subscription, pairs: Sequence[tuple[Record, Envelope[Any]]]
    ) -> None:
        """Try the whole batch; when it cannot be handled, one by one; then park the culprit."""
        for delay in (*self.backoff, None):
            try:
                with structlog.contextvars.bound_contextvars(**_context(pairs)):
                    await subscription.handle([event for _, event in pairs])
                EVENTS.labels(self.service, pairs[0][0].topic, "handled").inc(len(pairs))
                return
            except RejectedError as error:
                failure: Exception = error
                break
            except Exception as error:
                failure = error
                EVENTS.labels(self.service, pairs[0][0].topic, "retried").inc(len(pairs))
                log.warning(
                    "handler failed",
                    service=self.service,
                    error=f"{type(error).__name__}: {error}",
                    exc_info=not isinstance(error, UnavailableError),
                    retry_in=delay,
                    **_context(pairs),
                )
                if delay is None or (len(pairs) > 1 and not isinstance(error, UnavailableError)):
                    break
                await asyncio.sleep(delay)
        if len(pairs) > 1:
            for pair in pairs:
                await self._handle(subscription, [pair])
        else:
            await self.park(pairs[0][0], failure, tries=len(self.backoff) + 1)

    async def _refuse(
        self, subscription: Subscription, record: Record, error: ContractError
    ) -> None:
        if subscription.on_rejected is not None:
            await subscription.on_rejected(_rejected(record, error))
        await self.park(record, error, tries=1)

    async def park(self, record: Record, error: Exception, tries: int) -> None:
        """Put the record on the dead-letter topic: its bytes, key and headers untouched."""
        reason = getattr(error, "reason", type(error).__name__)
        extra = {
            "x-original-topic": record.topic,
            "x-original-partition": record.partition,
            "x-original-offset": record.offset,
            "x-original-timestamp": record.timestamp,
            "x-consumer-group": self.service,
            "x-error-reason": reason,
            "x-error-message": str(error)[:1000],
            "x-attempts": tries,
            "x-failed-at": datetime.now(UTC).isoformat(),
        }
        kept = [(name, value) for name, value in record.headers if name not in extra]
        headers = [*kept, *((name, str(value).encode()) for name, value in extra.items())]
        # A dead record of a tombstone keeps its key and an empty value: null would compact it away.
        await self.producer.raw(
            [(dead_topic(self.service).name, record.key, record.value or b"", headers)]
        )
        EVENTS.labels(self.service, record.topic, "parked").inc()
        DEAD.labels(self.service, reason).inc()
        log.error(
            "message parked",
            service=self.service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
            error=str(error)[:300],
            replay=f"imece dead replay {self.service}",
        )


def _context(pairs: Sequence[tuple[Record, Envelope[Any]]]) -> dict[str, object]:
    record, event = pairs[0]
    return {
        "event_id": event.id,
        "event_type": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "events": len(pairs),
    }


def _rejected(record: Record, error: ContractError) -> Rejected:
    texts = {
        name.lower(): (value or b"").decode(errors="replace") for name, value in record.headers
    }
    return Rejected(
        record.topic,
        texts.get("ce_id") or None,
        texts.get("ce_source") or None,
        record.key.decode(errors="replace") if record.key else None,
        record.value or b"",
        error.reason,
        str(error),
        error.pointer,
    )
