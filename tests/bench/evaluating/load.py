"""Latency under load with one stall: an open loop against a closed one, and the queue's truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from services.evaluator import openloop
from tests.bench.results import Row

RATE, COUNT, WORK, STALLED, STALL = 40, 240, 0.005, 80, 1.5


def rows() -> Iterator[Row]:
    """Yield p95 of a model that answers in 5 ms and stalls once for 1.5 s."""

    def ask(number: int) -> None:
        time.sleep(STALL if number == STALLED else WORK)

    due = openloop.arrivals(RATE, COUNT)
    answered = openloop.drive_one_by_one(ask, due)
    found = {each.name.split("|")[0]: each for each in openloop.figures(answered, RATE)}
    p95 = found["latency_p95_s"]
    truth, closed = _queue(due), [_timed(ask, number) for number in range(COUNT)]
    off = abs(p95.value / truth - 1)
    note = f"{COUNT} requests at {RATE} a second; the queue, computed: {truth:.3f} s"
    yield Row(
        "load.p95",
        p95.value,
        "s",
        "within 10 % of the queue",
        off <= 0.1,
        (p95.low, p95.high),
        {"closed loop": float(np.quantile(closed, 0.95))},
        note,
    )
    yield Row("load.answers", found["answers_per_s"].value, "a second")
    yield Row(
        "load.failed", found["load_failed"].value, "share", "0", not found["load_failed"].value
    )


def _queue(due: list[float]) -> float:
    """Return p95 as the arrivals and times of service make it: each waits for the one before."""
    free, waited = 0.0, []
    for number, at in enumerate(due):
        free = max(free, at) + (STALL if number == STALLED else WORK)
        waited.append(free - at)
    return float(np.quantile(waited, 0.95))


def _timed(ask: Callable[[int], None], number: int) -> float:
    began = time.perf_counter()
    ask(number)
    return time.perf_counter() - began
