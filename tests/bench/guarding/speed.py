"""How fast the guard is, in this process and through a real Kafka, and what many users cost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from imece.client import Client
from imece.events import Envelope, FeedbackDecided, FeedbackSubmitted, RevocationRequested
from imece.runtime import memory
from services.feedback_guard.policy import Policy
from services.feedback_guard.replay import Guard
from tests.bench.guarding.driving import KEYS, proven
from tests.bench.guarding.stream import Sent
from tests.demo.world import World, wait_ready, world

_BATCH, _TURNS = 500, 32
_PACE = 200


def in_process(stream: Sequence[Sent], policy: Policy) -> float:
    """Return events per second of processor time through both stages, on a database file."""
    with tempfile.TemporaryDirectory() as folder:
        guard = Guard(policy, f"sqlite:///{folder}/guard.db", KEYS)
        first, *parts = _parts([proven(s.event) for s in stream])
        guard.submit(first)  # opens the database, reads the content models
        memory.settle()  # as the service does when it is ready
        spent = sum(_cost(guard, part) for part in parts)
    return (len(stream) - len(first)) / spent


def growth(stream: Sequence[Sent], policy: Policy, few: int, many: int) -> float:
    """Return the cost of an event among `many` users, as a multiple of that among `few`.

    One event comes a second, each by a user of its own. Nobody answers when second opinions are
    asked for, so ever more waits, and is asked about again and again. The next 16,000 events of
    each are measured; both say the same where `many - few` is a multiple of the stream's length.
    """
    with tempfile.TemporaryDirectory() as folder:
        guards = {
            users: Guard(policy, f"sqlite:///{folder}/{users}.db", KEYS, asks=True)
            for users in (few, many)
        }
        for users, guard in guards.items():
            for at in range(0, users, _BATCH):
                _among(guard, stream, at)
        # In turns, so that what else the machine does meets both; each goes first as often as the
        # other, as the second finds words in the caches that the first has just met.
        spent = dict.fromkeys(guards, 0.0)
        for turn in range(_TURNS):
            for users in (few, many) if turn % 2 else (many, few):
                spent[users] += _among(guards[users], stream, users + turn * _BATCH)
    return spent[many] / spent[few]


def _among(guard: Guard, stream: Sequence[Sent], at: int) -> float:
    """Hand over a batch that begins with the event `at`; return its processor time."""
    spent = _cost(guard, [_nth(stream, n) for n in range(at, at + _BATCH)])
    guard.changed.clear()
    guard.asked.clear()
    return spent


@dataclass(frozen=True)
class Revoked:
    """How long it took to take back all that one user had brought in."""

    seconds: float
    rows: int
    events: int
    complete: bool


def revocation(stream: Sequence[Sent], policy: Policy, events: int) -> Revoked:
    """Fill a guard with so many events and revoke its most accepted user.

    Nobody is asked here, so praise must not wait for people: else there is nothing to take back.
    """
    eager = policy.thresholds.model_copy(update={"praise_waits": False})
    policy = policy.model_copy(update={"thresholds": eager})
    accepted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        guard = Guard(policy, f"sqlite:///{folder}/guard.db")
        for at in range(0, events, _BATCH):
            part = [_again(stream[n % len(stream)].event, n) for n in range(at, at + _BATCH)]
            accepted.update(d.user for d in guard.submit(part) if d.row is not None)
        user, rows = accepted.most_common(1)[0]
        began = time.monotonic()
        request = RevocationRequested(request="bench", reason="takeover", by="bench", user=user)
        gone = guard.revoke(request)
        seconds = time.monotonic() - began
        left = guard.revoke(request.model_copy(update={"request": "again"}))
    mine = {d.feedback for d in gone if d.user == user and d.row is None}
    complete = len(mine) >= rows and not any(d.row for d in left)
    return Revoked(seconds, rows, events, complete)


def _again(event: Envelope[FeedbackSubmitted], number: int) -> Envelope[FeedbackSubmitted]:
    """Send an event again as another one of the same user, about another question."""
    changed = {"response": f"answer-{number}", "prompt": f"{event.data.prompt} ({number})"}
    return replace(event, data=event.data.model_copy(update=changed), id=f"e{number}")


def _nth(stream: Sequence[Sent], number: int) -> Envelope[FeedbackSubmitted]:
    event = _by(stream[number % len(stream)].event, number)
    return replace(event, time=stream[0].event.time + timedelta(seconds=number))


def _by(event: Envelope[FeedbackSubmitted], user: int) -> Envelope[FeedbackSubmitted]:
    data = event.data.model_copy(
        update={
            "user": f"user-{user}",
            "response": f"answer-{user}",
            "device": f"device-{user}",
            "prompt": f"{event.data.prompt} ({user // 10})",
        }
    )
    return replace(event, data=data, id=f"e{user}")


def _cost(guard: Guard, part: Sequence[Envelope[FeedbackSubmitted]]) -> float:
    began = time.process_time()
    guard.submit(part)
    return time.process_time() - began


def _parts(
    events: Sequence[Envelope[FeedbackSubmitted]],
) -> list[Sequence[Envelope[FeedbackSubmitted]]]:
    return [events[at : at + _BATCH] for at in range(0, len(events), _BATCH)]


@dataclass(frozen=True)
class ThroughKafka:
    """What one guard process did behind a real broker."""

    events_per_second: float
    p95_seconds: float


def through_kafka(stream: Sequence[Sent], paced_seconds: int, cache: Path) -> ThroughKafka:
    """Send events at 200 a second, then the stream as fast as it goes; wait for all decisions."""
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder), cache, ("feedback-guard",)) as running,
    ):
        wait_ready(running)
        return asyncio.run(_measure(running, [s.event for s in stream], paced_seconds))


async def _measure(
    running: World, events: Sequence[Envelope[FeedbackSubmitted]], paced_seconds: int
) -> ThroughKafka:
    async with Client(running.kafka, "bench") as client:
        warm = [replace(_by(e, 10**6 + n), source="bench-warm") for n, e in enumerate(events[:50])]
        await _round(client, warm, None)
        count = _PACE * paced_seconds
        calm = [
            replace(_by(events[n % len(events)], n), source="bench-paced") for n in range(count)
        ]
        paced = await _round(client, calm, _PACE)
        since = datetime.now(UTC) - events[-1].time  # the last three days come at once
        late = [replace(e, source="bench-flood", time=e.time + since) for e in events]
        flood = await _round(client, late, None)
    took = max(flood.arrived.values()) - min(flood.left.values())
    waits = [paced.arrived[id] - paced.left[id] for id in paced.left]
    return ThroughKafka(len(events) / took, float(np.quantile(waits, 0.95)))


@dataclass(frozen=True)
class _Times:
    left: dict[str, float]
    arrived: dict[str, float]


async def _round(
    client: Client, events: Sequence[Envelope[FeedbackSubmitted]], pace: int | None
) -> _Times:
    """Publish all and note when each event left and when its decision came."""
    times = _Times({}, {})
    ear = asyncio.create_task(_listen(client, events[0].source, len(events), times.arrived))
    await asyncio.sleep(1)
    began = time.monotonic()
    step = (pace or 2_000) // 10
    for at in range(0, len(events), step):
        part = events[at : at + step]
        if pace is not None:
            part = [replace(event, time=datetime.now(UTC)) for event in part]
        for event in part:
            times.left[event.id] = time.monotonic()
        await client.publish(*part)
        if pace is not None:
            await asyncio.sleep(max(0.0, began + (at + step) / pace - time.monotonic()))
    await ear
    if len(times.arrived) < len(events):
        raise TimeoutError(f"{len(events) - len(times.arrived)} of {len(events)} had no decision")
    return times


async def _listen(client: Client, source: str, count: int, arrived: dict[str, float]) -> None:
    async for found in client.follow(FeedbackDecided, since=time.time() - 1, timeout=60):
        if found.data.feedback_source == source:
            arrived.setdefault(found.data.feedback, time.monotonic())
        if len(arrived) == count:
            return
