"""Load that does not wait for answers, on a clock that the test owns."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np
import pytest

from services.evaluator import openloop
from services.evaluator.openloop import Answered

T = TypeVar("T")


class _Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only while all wait."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        self._clock.now += timeout or 0.0
        return super().select(0)


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_Clock) as runner:
        return runner.run(work)


def test_arrivals_have_the_rate_and_repeat_themselves() -> None:
    due = openloop.arrivals(20, 5000, seed=3)
    gaps = np.diff([0.0, *due])
    assert due == openloop.arrivals(20, 5000, seed=3)
    assert due == sorted(due)
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 20, rel=0.05)


@pytest.mark.parametrize(("rate", "count"), [(0, 5), (-1, 5), (5, 0)])
def test_no_load_is_refused(rate: float, count: int) -> None:
    with pytest.raises(ValueError, match="no load"):
        openloop.arrivals(rate, count)


def test_a_stall_counts_against_all_who_were_due_meanwhile() -> None:
    async def main() -> list[Answered]:
        turn = asyncio.Lock()

        async def work(i: int) -> None:
            async with turn:
                await asyncio.sleep(10 if i == 0 else 0.001)

        return await openloop.drive(work, [0.1 * n for n in range(100)])

    told = run(main())
    # Timed from when its turn came, each but one would take 0.001 s.
    assert np.median([each.latency for each in told]) == pytest.approx(5, abs=0.2)
    assert told[-1].done > 10


def test_a_failure_is_counted_and_the_others_go_on() -> None:
    async def work(i: int) -> None:
        await asyncio.sleep(0.5)
        if i % 4 == 0:
            raise ConnectionError("gone")

    told = run(openloop.drive(work, [float(n) for n in range(20)]))
    found = {m.name.split("|")[0]: m for m in openloop.figures(told, 1)}
    assert found["load_failed"].value == 0.25
    assert found["latency_p50_s"].value == pytest.approx(0.5)
    assert found["latency_p50_s"].n == 15
    assert found["answers_per_s"].value == pytest.approx(15 / 19.5)
    assert found["peak_memory_bytes"].value > 1e6


def test_all_failures_have_no_latency() -> None:
    found = openloop.figures([Answered(0, 1, failed=True)] * 3, 2)
    assert [m.value for m in found if m.name.startswith("load_failed")] == [1]
    assert not [m for m in found if m.name.startswith("latency")]


def test_intervals_of_quantiles_cover_those_of_the_queue() -> None:
    random = np.random.default_rng(1)
    truth, covered = -np.log(1 - 0.95), 0
    for _ in range(100):
        told = [Answered(float(i), i + x) for i, x in enumerate(random.exponential(size=300))]
        (p95,) = [m for m in openloop.figures(told, 1) if m.name.startswith("latency_p95")]
        covered += p95.low <= truth <= p95.high
    assert covered >= 88


def test_a_model_in_this_process_answers_one_after_the_other() -> None:
    asked: list[str] = []
    found = openloop.measure(asked.append, ["a", "b"], 10_000, 9)
    # Requests that are due at nearly the same time may change places.
    assert (asked[0], sorted(asked[1:])) == ("a", sorted("ababababa"))
    assert {m.slice for m in found} == {"load"}
    assert all(m.low <= m.value <= m.high for m in found)
    assert openloop.measure(asked.append, [], 1, 1) == []
