"""Run services: one broker connection, one HTTP port, one consumer a service."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from faststream import AckPolicy, Context
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from pydantic import ValidationError
from pydantic_settings import SettingsError

from imece.client import Producer
from imece.errors import ConfigError, ImeceError, UnavailableError
from imece.local.kafka import bootstrap
from imece.runtime import health, logs, memory
from imece.runtime.delivery import Delivery, Subscription
from imece.runtime.security import kafka_security
from imece.runtime.settings import Settings, complaint
from imece.runtime.topics import reconcile

log = structlog.get_logger()
Publish = Callable[..., Awaitable[None]]
Build = Callable[[Settings, Publish], "Service"]
GRACE_SECONDS = 20.0
MAX_RECORDS = 500
POLL_INTERVAL_MS = 600_000


@dataclass(frozen=True)
class Service:
    """A service, put together but not started."""

    name: str
    subscriptions: tuple[Subscription, ...]
    background: tuple[Callable[[asyncio.Event], Awaitable[None]], ...] = ()
    resources: tuple[AbstractAsyncContextManager[Any], ...] = ()
    ready: Callable[[], str | None] = lambda: None


@dataclass
class Running:
    """What readiness looks at."""

    services: list[Service]
    stage: str | None = "starting"
    consumers: dict[str, Any] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> dict[str, str | None]:
        """Return why each service is not ready, None when it is."""
        return {service.name: self._reason(service) for service in self.services}

    def _reason(self, service: Service) -> str | None:
        return (
            self.stage
            or self.failing.get(service.name)
            or _deaf(self.consumers.get(service.name))
            or service.ready()
        )

    def dead(self) -> str | None:
        """Return why the process should be restarted: a consumer that ended for good."""
        if self.stage is not None:
            return None
        for name, subscriber in self.consumers.items():
            if any(task.done() for task in subscriber.tasks):
                return f"the consumer of {name} has ended"
        return None


def run(*builds: Build) -> int:
    """Run services until SIGTERM or SIGINT; returns the exit code (2: a setting is wrong)."""
    try:
        settings = Settings()
        logs.configure(settings.log_level)
        asyncio.run(_main(settings, builds))
    except (ValidationError, SettingsError) as error:
        told = complaint(error)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        return 2
    except ImeceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


async def _main(settings: Settings, builds: tuple[Build, ...]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kafka = bootstrap(settings.home, settings.kafka)
    producer = Producer(kafka, kafka_security(settings))
    services = [build(settings, producer.send) for build in builds]
    running = Running(services)
    async with _http(settings, running):
        await _until_stopped(
            running, stop, _start_and_wait(settings, kafka, producer, running, stop)
        )
    log.info("stopped", services=[service.name for service in services])


async def _start_and_wait(
    settings: Settings, kafka: str, producer: Producer, running: Running, stop: asyncio.Event
) -> None:
    await _wait_for_kafka(settings, kafka, producer, running)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(producer.stop)
        for service in running.services:
            for resource in service.resources:
                running.stage = f"opening {type(resource).__name__}"
                await stack.enter_async_context(resource)
        await stack.enter_async_context(_background(running, stop))
        broker = _broker(settings, kafka, running, producer)
        running.stage = "joining the consumer groups"
        stack.push_async_callback(broker.stop)
        await broker.start()
        running.stage = None
        memory.settle()
        log.info("ready", services=[service.name for service in running.services], kafka=kafka)
        await stop.wait()
        log.info("stopping")


async def _wait_for_kafka(
    settings: Settings, kafka: str, producer: Producer, running: Running
) -> None:
    delay = 0.5
    while True:
        try:
            created = await reconcile(kafka, kafka_security(settings), settings.replication)
            await producer.start()
        except UnavailableError as error:
            running.stage = str(error)
            log.warning("waiting for Kafka", error=str(error), retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10)
        else:
            if created:
                log.info("topics created", topics=created)
            return


def _broker(settings: Settings, kafka: str, running: Running, producer: Producer) -> KafkaBroker:
    security = kafka_security(settings)
    broker = KafkaBroker(
        kafka,
        graceful_timeout=GRACE_SECONDS,
        allow_auto_create_topics=False,
        # FastStream logs handler errors only here, so it must have a logger.
        logger=logging.getLogger("imece.kafka"),
        log_level=logging.DEBUG,
        **security,
    )
    for service in running.services:
        if service.subscriptions:
            delivery = Delivery(
                service.name, {s.event.topic.name: s for s in service.subscriptions}, producer
            )
            running.consumers[service.name] = _subscribe(broker, delivery)
    return broker


def _subscribe(broker: KafkaBroker, delivery: Delivery) -> Any:
    """Attach one consumer for all topics of a service; offsets move when `deliver` returned."""
    subscriber = broker.subscriber(
        *delivery.subscriptions,
        group_id=delivery.service,
        batch=True,
        max_records=MAX_RECORDS,
        batch_timeout_ms=200,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        max_poll_interval_ms=POLL_INTERVAL_MS,
        parser=_without_headers,
        decoder=_undecoded,
    )

    @subscriber
    async def consume(message: Annotated[KafkaMessage, Context("message")]) -> None:
        try:
            await delivery.deliver(message.raw_message)
        except Exception as error:
            # Not even parking worked, so Kafka itself is away: fetch the batch again, calmly.
            log.warning("batch will be fetched again", service=delivery.service, error=str(error))
            await asyncio.sleep(1)
            raise

    return subscriber


async def _without_headers(message: Any, original: Callable[[Any], Awaitable[Any]]) -> Any:
    """Parse without headers: FastStream dies on headers that are not UTF-8, `decode` does not.

    It has to see one record of the batch; `deliver` takes them all as they came.
    """
    parsed = await original((dataclasses.replace(message[0], headers=()),))
    parsed.raw_message = message
    return parsed


async def _undecoded(message: Any, _original: Any) -> Any:
    return message.body


def _deaf(subscriber: Any) -> str | None:
    if subscriber is None:
        return None
    if not subscriber.running or any(task.done() for task in subscriber.tasks):
        return "the consumer is not running"
    consumer = subscriber.consumer
    if consumer is None or not consumer.assignment():
        return "no partition is assigned (waiting for the group, or more replicas than partitions)"
    return None


@contextlib.asynccontextmanager
async def _background(running: Running, stop: asyncio.Event) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(_supervise(running, service.name, work, stop))
        for service in running.services
        for work in service.background
    ]
    try:
        yield
    finally:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _supervise(
    running: Running,
    name: str,
    work: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    delay = 0.5
    while not stop.is_set():
        try:
            await work(stop)
            return
        except Exception as error:
            running.failing[name] = f"{type(error).__name__}: {error}"
            log.exception("background work failed", service=name, retry_in=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay)
            delay = min(delay * 2, 30)
            running.failing.pop(name, None)


@contextlib.asynccontextmanager
async def _http(settings: Settings, running: Running) -> AsyncIterator[None]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(
        health.serve(health.app(running.reasons, running.dead), settings.http, port.set_result)
    )
    await asyncio.wait([server, port], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
    if server.done():
        await server  # raises why it could not listen
    address = f"{settings.http.rpartition(':')[0]}:{await port}"
    log.info("listening", http=address)
    try:
        with health.state_file(settings.home, [s.name for s in running.services], address):
            yield
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


async def _until_stopped(running: Running, stop: asyncio.Event, work: Any) -> None:
    """Run `work`, which ends by itself after `stop`; before it is ready, `stop` cancels it."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.stage is not None and not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return
    _, late = await asyncio.wait({task}, timeout=2 * GRACE_SECONDS + 5)
    if late:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        raise ConfigError("the services did not stop in time; jobs will be taken over")
    await task
