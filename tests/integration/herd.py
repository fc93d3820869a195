"""Service processes that tests kill, and what their topics hold in the end, without waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from imece.client import Client
from imece.errors import UnavailableError
from imece.events import Envelope, Event, decode
from imece.events.base import E


class Herd:
    """Service processes that are killed and started again."""

    def __init__(self, home: Path, kafka: str, **env: str) -> None:
        self.home, self.kafka = home, kafka
        self._env = dict(os.environ, IMECE_HOME=str(home), IMECE_KAFKA=kafka, **env)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, replica: str = "") -> None:
        """Run a service; replicas of one are killed under names of their own."""
        with (self.home / f"{replica or name}.log").open("ab") as log:
            self._processes[replica or name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=self._env, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGKILL)
        self._processes[name].wait()

    def stop(self) -> dict[str, int]:
        """End all by SIGTERM, which finishes what they do; returns their exit codes."""
        for process in self._processes.values():
            process.terminate()
        return {name: process.wait() for name, process in self._processes.items()}

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def children(self, name: str = "") -> list[psutil.Process]:
        """Return the processes that run jobs of this home, orphans included; zombies run none."""
        attempts = str(self.home / "jobs" / name)
        found = psutil.process_iter(["cmdline"])
        return [p for p in found if (p.info["cmdline"] or [""])[-1].startswith(attempts)]


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 300) -> None:
    """Wait for something that has to come; the patience is for a busy machine."""
    deadline = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < deadline, f"in vain for {seconds} s: {what.__qualname__}"
        await asyncio.sleep(0.5)


async def until_topics(kafka: str, kind: type[Event]) -> None:
    """Wait until a service has created the topics."""

    async def created() -> bool:
        try:
            async with Client(kafka, "herd") as client:
                async for _ in client.records(kind.topic.name, timeout=0.1):
                    break
        except UnavailableError:
            return False
        return True

    await until(created)


async def send(client: Client, *events: Envelope[Any]) -> None:
    """Send again with the same ids until acknowledged, as an upstream system would."""
    while True:
        try:
            await client.publish(*events)
            return
        except UnavailableError:
            await asyncio.sleep(1)


async def until_committed(kafka: str, group: str, *kinds: type[Event]) -> None:
    """Wait until a service has committed all of these topics: nothing will be delivered again."""
    consumer = _consumer(kafka, *(kind.topic.name for kind in kinds))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)

    async def committed() -> bool:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        try:
            done = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return False
        return all(end == 0 or (p in done and done[p].offset == end) for p, end in ends.items())

    try:
        await consumer.start()
        await admin.start()
        await until(committed)
    finally:
        await consumer.stop()
        await admin.close()


async def until_members(kafka: str, group: str, number: int) -> None:
    """Wait until so many members share the partitions of a group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)

    async def shared() -> bool:
        try:
            (response,) = await admin.describe_consumer_groups([group])
        except GroupCoordinatorNotAvailableError:
            return False
        state, members = response.groups[0][2], response.groups[0][5]
        return state == "Stable" and len(members) == number

    try:
        await admin.start()
        await until(shared)
    finally:
        await admin.close()


async def everything(kafka: str, kind: type[E], *keys: str) -> list[Envelope[E]]:
    """Return a topic's events from beginning to end, each (source, id) once, in partition order.

    With keys, only theirs. An event that was published twice under one id has to say the same
    twice.
    """
    found: dict[tuple[str, str], Envelope[E]] = {}
    for record in await records(kafka, kind.topic.name):
        if keys and (record.key or b"").decode() not in keys:
            continue
        event = decode(kind, record.headers, record.key, record.value)
        first = found.setdefault((event.source, event.id), event)
        assert event.data == first.data, "one id, two different events"
    return list(found.values())


async def records(kafka: str, topic: str) -> list[Any]:
    """Return what a topic holds now as it is, in partition order."""
    consumer, found = _consumer(kafka, topic), []
    try:
        await consumer.start()
        ends = await consumer.end_offsets(list(consumer.assignment()))
        for place in ends:
            consumer.seek(place, 0)
        while [p for p, end in ends.items() if await consumer.position(p) < end]:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
    finally:
        await consumer.stop()
    return found


def _consumer(kafka: str, *topics: str) -> AIOKafkaConsumer:
    """Without a group it gives itself every partition."""
    return AIOKafkaConsumer(*topics, bootstrap_servers=kafka, enable_auto_commit=False)
