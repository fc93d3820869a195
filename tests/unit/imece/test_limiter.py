"""How the limiter opens, closes and holds back."""

from __future__ import annotations

import asyncio
import time

from imece.runtime.limiter import Limiter


def soon(seconds: float = 60) -> float:
    return time.monotonic() + seconds


async def turn(limiter: Limiter, ending: str, retry_after: float | None = None) -> None:
    began = await limiter.enter(soon())
    assert began is not None
    await limiter.leave(began, ending, retry_after)  # type: ignore[arg-type]


async def test_good_calls_open_it_up_to_its_ceiling() -> None:
    limiter = Limiter(10)
    for _ in range(30):
        await turn(limiter, "good")
    assert limiter.limit == 10


async def test_a_lone_429_among_good_calls_closes_nothing() -> None:
    limiter = Limiter(10)
    for _ in range(10):
        await turn(limiter, "good")
    await turn(limiter, "congested", 5)
    assert (limiter.limit, limiter.open_in) == (10, 0)


async def test_many_429s_halve_it_and_hold_everyone_back() -> None:
    limiter = Limiter(8, start=8)
    began = [await limiter.enter(soon()) for _ in range(8)]
    before = time.monotonic()
    for each in began:
        assert each is not None
        await limiter.leave(each, "congested", 0.2)
    assert limiter.limit == 4  # one cut, not eight: they all started before it
    await turn(limiter, "good")
    assert time.monotonic() - before >= 0.2
    assert limiter.paused_seconds >= 0.2


async def test_growth_after_a_cut_is_slow() -> None:
    limiter = Limiter(8, start=8)
    await turn(limiter, "congested")
    assert limiter.limit == 4
    for _ in range(4):
        await turn(limiter, "good")
    assert 4.5 < limiter.limit < 5.5


async def test_nobody_waits_beyond_the_deadline() -> None:
    limiter = Limiter(1)
    assert await limiter.enter(soon()) is not None
    assert await limiter.enter(soon(0.05)) is None
    held = Limiter(1)
    await turn(held, "congested", 3600)
    before = time.monotonic()
    assert await held.enter(soon(60)) is None
    assert time.monotonic() - before < 60


async def test_never_more_at_once_than_the_limit() -> None:
    limiter, active, most = Limiter(3, start=3), 0, 0

    async def call() -> None:
        nonlocal active, most
        began = await limiter.enter(soon())
        assert began is not None
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.005)
        active -= 1
        await limiter.leave(began, "good")

    await asyncio.gather(*(call() for _ in range(40)))
    assert (most, active) == (3, 0)
