"""Latency, throughput and memory while requests come by themselves: an open loop.

Arrivals are a Poisson process that does not wait for answers, and a latency counts from the time
a request was due. So a stall counts against everybody who stood in the queue, which a closed
loop hides ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from imece.events import Metric
from services.evaluator.statistics.intervals import Floats, wilson

Work = Callable[[int], Awaitable[object]]
QUANTILES = (0.5, 0.95, 0.99)
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, in seconds from the start of the run: due, begun and done; or failed."""

    due: float
    done: float
    failed: bool = False

    @property
    def latency(self) -> float:
        """From the time it was due, not from the time somebody got to it."""
        return self.done - self.due


def arrivals(rate: float, count: int, seed: int = 0) -> list[float]:
    """Return when `count` requests are due, in seconds, at `rate` a second on average."""
    if rate <= 0 or count < 1:
        raise ValueError(f"{count} requests at {rate} a second are no load")
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=count)
    return [float(x) for x in np.cumsum(gaps)]


async def drive(work: Work, due: Sequence[float]) -> list[Answered]:
    """Start `work(i)` at each due time, whatever has not come back, and wait for all of it."""
    clock = asyncio.get_running_loop().time
    began = clock()

    async def one(i: int, at: float) -> Answered:
        await asyncio.sleep(max(0.0, at - (clock() - began)))
        try:
            await work(i)
        except Exception:  # whatever a model or endpoint raises is a failure of this request
            return Answered(at, clock() - began, failed=True)
        return Answered(at, clock() - began)

    return list(await asyncio.gather(*(one(i, at) for i, at in enumerate(due))))


def drive_one_by_one(work: Callable[[int], object], due: Sequence[float]) -> list[Answered]:
    """Drive something that answers one request at a time, such as a model in this process."""

    async def run() -> list[Answered]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as only:
            return await drive(lambda i: loop.run_in_executor(only, work, i), due)

    return asyncio.run(run())


def figures(answered: Sequence[Answered], rate: float, *, here: bool = True) -> list[Metric]:
    """Return p50, p95 and p99 in seconds, answers a second, failures and peak memory.

    The memory is that of this process, so only of a model that is `here`.

    Failed requests are in the share of failures only. Neighbours in a queue wait together, so the
    intervals of quantiles come from resampled runs of neighbours (circular blocks).
    """
    good = np.array([each.latency for each in answered if not each.failed])
    n, lost = len(answered), sum(each.failed for each in answered)
    how = f"open-loop|arrivals:poisson:{rate:g}/s"
    low, high = wilson(lost, n)
    found = [_metric(f"load_failed|{how}|ci:wilson-bcd95", lost / n, n, low, high)]
    if good.size:
        ends = _quantile_ends(good)
        for q, (low, high) in zip(QUANTILES, ends, strict=True):
            name = f"latency_p{q * 100:g}_s|{how}|from:due|ci:block-bootstrap{_RESAMPLES}"
            found.append(_metric(name, float(np.quantile(good, q)), good.size, low, high))
        span = max(each.done for each in answered) - min(each.due for each in answered)
        speed = good.size / span if span > 0 else 0.0
        found.append(_metric(f"answers_per_s|{how}|ci:none", speed, good.size, speed, speed))
    if here:
        peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        found.append(_metric(f"peak_memory_bytes|{how}|ci:none", peak, n, peak, peak))
    return found


def _quantile_ends(values: Floats) -> list[tuple[float, float]]:
    """Return 95 % intervals of the quantiles; the order of arrival is kept within blocks."""
    n = values.size
    length = max(1, math.isqrt(n))
    random = np.random.default_rng(0)
    starts = random.integers(0, n, size=(_RESAMPLES, -(-n // length)))
    at = (starts[..., None] + np.arange(length)).reshape(_RESAMPLES, -1)[:, :n] % n
    drawn = np.quantile(values[at], QUANTILES, axis=1)
    return [(float(np.quantile(row, 0.025)), float(np.quantile(row, 0.975))) for row in drawn]


def _metric(name: str, value: float, n: int, low: float, high: float) -> Metric:
    ends = {"low": min(low, value), "high": max(high, value)}
    return Metric(slice="load", name=name, value=value, n=n, **ends)


def measure(
    ask: Callable[[str], object], prompts: Sequence[str], rate: float, count: int
) -> list[Metric]:
    """Ask a model in this process at `rate` a second; the first answer warms up uncounted."""
    if not prompts:
        return []
    ask(prompts[0])
    due = arrivals(rate, count)
    return figures(drive_one_by_one(lambda i: ask(prompts[i % len(prompts)]), due), rate)
