"""What is told of an endpoint that could not be asked in time."""

import asyncio
import time

from imece.runtime.endpoint import Line, Trouble


async def test_a_try_that_the_deadline_cuts_off_does_not_hide_the_trouble_before_it():
    line, left = Line("http://127.0.0.1:1", "none", 1), []

    async def attempt(seconds: float) -> Trouble:
        left.append(seconds)
        if len(left) == 1:
            return Trouble("http_503", "", True, 0.05)
        await asyncio.sleep(seconds)
        return Trouble("timeout")

    told, calls = await line.patiently(attempt, time.monotonic() + 3, 10)
    await line.close()
    assert (told.reason, calls, max(left) <= 3) == ("http_503", 2, True)


async def test_a_try_with_all_its_time_tells_that_it_was_late():
    line, waits = Line("http://127.0.0.1:1", "none", 1), iter((0.05, 3600))

    async def attempt(seconds: float) -> Trouble:
        await asyncio.sleep(seconds)
        return Trouble("timeout", "", True, next(waits))

    told, calls = await line.patiently(attempt, time.monotonic() + 120, 0.1)
    await line.close()
    assert (told.reason, calls) == ("timeout", 2)
