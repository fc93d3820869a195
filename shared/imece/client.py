"""Publish and read imece events from Python; needs aiokafka only (`pip install imece[client]`).

async with Client("127.0.0.1:9092", source="my-app") as imece:
    sent = await imece.publish(FeedbackSubmitted(...))
    print((await imece.verdict(sent)).verdict)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import ConsumerRecord

from imece.errors import ContractError, UnavailableError
from imece.events import (
    Envelope,
    Event,
    FeedbackDecided,
    FeedbackSubmitted,
    decode,
    encode,
    new,
)
from imece.events.base import E


def unreachable(kafka: str, error: Exception) -> UnavailableError:
    """Say that no broker answers at the address `kafka`, and what to look at."""
    return UnavailableError(
        f"cannot reach Kafka at {kafka}; does it run, and is the address right? {error}"
    )


def missing(topics: Iterable[str]) -> UnavailableError:
    """Say that one of `topics` does not exist; the services make them at their start."""
    names = ", ".join(sorted(set(topics)))
    return UnavailableError(f"one of the topics {names} does not exist; start the services first")


class Producer:
    """An idempotent producer of events that survives a broker restart."""

    def __init__(self, kafka: str, security: Mapping[str, Any] | None = None) -> None:
        """Remember where; nothing connects before the first `send` or `start`."""
        self._kafka = kafka
        self._security = dict(security or {})
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect; `UnavailableError` naming the address when no broker answers."""
        async with self._starting:
            if self._producer is not None:
                return
            producer = AIOKafkaProducer(
                bootstrap_servers=self._kafka,
                enable_idempotence=True,
                acks="all",
                linger_ms=2,
                max_batch_size=256 * 1024,
                request_timeout_ms=15_000,
                **self._security,
            )
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                with contextlib.suppress(Exception):
                    await producer.stop()
                raise unreachable(self._kafka, error) from error
            self._producer = producer

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def send(self, *events: Envelope[Any]) -> None:
        """Publish in order and return when the broker has acknowledged every event.

        Raises `ContractError` before anything is sent when an event is too large, and
        `UnavailableError` when the broker did not acknowledge; sending again is safe.
        """
        messages = [encode(event) for event in events]
        await self.raw([(m.topic, m.key, m.value, m.headers) for m in messages])

    async def raw(
        self, records: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]]
    ) -> None:
        """Publish records as bytes: for dead letters and tools."""
        await self.start()
        producer = self._producer
        assert producer is not None
        try:
            futures = [
                await producer.send(topic, value=value, key=key, headers=headers)
                for topic, key, value, headers in records
            ]
            await asyncio.gather(*futures)
        except MessageSizeTooLargeError as error:
            raise ContractError("too_large", f"the broker takes no such record: {error}") from error
        except UnknownTopicOrPartitionError as error:
            raise missing(topic for topic, *_ in records) from error
        except (KafkaError, OSError) as error:
            await self._drop(producer)
            raise UnavailableError(
                f"Kafka at {self._kafka} did not acknowledge: {type(error).__name__} {error}"
            ) from error

    async def _drop(self, broken: AIOKafkaProducer) -> None:
        """Forget a producer whose idempotent session may be lost; the next send makes a new one."""
        if self._producer is broken:
            self._producer = None
        with contextlib.suppress(Exception):  # it is broken already; the error was raised
            await asyncio.wait_for(broken.stop(), 5)


class Client:
    """What an upstream system needs: publish events, follow topics, await verdicts."""

    def __init__(self, kafka: str, source: str, security: Mapping[str, Any] | None = None) -> None:
        """Use the broker at `kafka`; `source` names the publishing system (CloudEvents source)."""
        self.kafka = kafka
        self.source = source
        self._security = dict(security or {})
        self._producer = Producer(kafka, security)

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def publish(self, *events: E | Envelope[E]) -> list[Envelope[E]]:
        """Publish events in order; returns their envelopes, which hold the ids."""
        envelopes = [e if isinstance(e, Envelope) else new(e, self.source) for e in events]
        await self._producer.send(*envelopes)
        return envelopes

    async def follow(
        self, *kinds: type[Event], since: float | None = None, timeout: float | None = None
    ) -> AsyncIterator[Envelope[Any]]:
        """Yield the events of these topics from unix time `since` (None: the beginning) on.

        Ends after `timeout` seconds without a new event (None: never). Duplicates by
        ``(source, id)`` and records that are not valid events are left out.
        """
        by_topic = {kind.topic.name: kind for kind in kinds}
        seen: set[tuple[str, str]] = set()
        async for record in self.records(*by_topic, since=since, timeout=timeout):
            try:
                event = decode(by_topic[record.topic], record.headers, record.key, record.value)
            except ContractError:
                continue  # its owner parked it; a reader has nothing to do about it
            if (event.source, event.id) not in seen:
                seen.add((event.source, event.id))
                yield event

    async def records(
        self, *topics: str, since: float | None = None, timeout: float | None = None
    ) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
        """Yield raw records of `topics` without joining a group."""
        # Without a group the consumer gives itself every partition of its topics.
        consumer = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.kafka,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **self._security,
        )
        try:
            await consumer.start()
            await _seek(consumer, since)
            last = time.monotonic()
            while timeout is None or time.monotonic() - last < timeout:
                batches = await consumer.getmany(timeout_ms=200)
                for record in sorted(
                    (r for batch in batches.values() for r in batch), key=lambda r: r.timestamp
                ):
                    last = time.monotonic()
                    yield record
        except UnknownTopicOrPartitionError as error:
            raise missing(topics) from error
        except (KafkaError, OSError) as error:
            raise UnavailableError(f"cannot read from Kafka at {self.kafka}: {error}") from error
        finally:
            await consumer.stop()

    async def verdict(
        self, feedback: Envelope[FeedbackSubmitted], timeout: float = 30
    ) -> FeedbackDecided:
        """Wait for the guard's decision about `feedback`; `UnavailableError` after `timeout` s."""
        since = feedback.time.timestamp() - 60
        deadline = time.monotonic() + timeout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async for event in self.follow(FeedbackDecided, since=since):
                    same = (event.data.feedback, event.data.feedback_source) == (
                        feedback.id,
                        feedback.source,
                    )
                    if same:
                        return event.data  # type: ignore[no-any-return]
                    if time.monotonic() > deadline:
                        break
        raise UnavailableError(
            f"no decision about feedback {feedback.id} within {timeout:g} s; "
            "is feedback-guard running? (imece status)"
        )


async def _seek(consumer: AIOKafkaConsumer, since: float | None) -> None:
    """Go to the first record at or after `since`; explicit offsets, as resets race with fetches."""
    partitions = list(consumer.assignment())
    # The ends come first: what arrives after them is then found by time or read from the end.
    ends = await consumer.end_offsets(partitions)
    if since is None:
        starts = await consumer.beginning_offsets(partitions)
    else:
        found = await consumer.offsets_for_times({p: int(since * 1000) for p in partitions})
        starts = {p: at.offset for p, at in found.items() if at is not None}
    for partition in partitions:
        consumer.seek(partition, starts.get(partition, ends[partition]))
