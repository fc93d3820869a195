"""How many calls one endpoint gets at once: more while it answers, half when it is overrun."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Literal

Ending = Literal["good", "congested", "other"]
_WINDOW, _SHARE = 50, 0.25


class Limiter:
    """Additive increase, multiplicative decrease, shared by all callers of one client.

    Some 429s among good answers concern their own calls; a share of more than a quarter of the
    last 50 endings concerns all: the limit is halved, and a Retry-After holds everyone back.
    """

    def __init__(self, ceiling: int, start: int = 4) -> None:
        """Begin with `start` calls at once, never exceed `ceiling`."""
        self.limit = float(min(start, ceiling))
        self.paused_seconds = 0.0
        self._ceiling = ceiling
        self._slow_start = True
        self._active = 0
        self._open_at = self._shrunk_at = 0.0
        self._endings: deque[bool] = deque(maxlen=_WINDOW)
        self._changed = asyncio.Condition()

    async def enter(self, deadline: float) -> float | None:
        """Wait for a turn; its start, or None when `deadline` (monotonic) passes first."""
        async with self._changed:
            while True:
                now = time.monotonic()
                free = self._active < int(self.limit)
                if now >= deadline or self._open_at >= deadline:
                    return None
                if free and now >= self._open_at:
                    self._active += 1
                    return now
                until = max(self._open_at, now) if free else deadline
                try:
                    async with asyncio.timeout(until - now):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def leave(self, began: float, ending: Ending, retry_after: float | None = None) -> None:
        """End a turn that began at `began`, and learn from how it ended."""
        async with self._changed:
            self._active -= 1
            if ending != "other":
                self._endings.append(ending == "good")
            if ending == "good":
                step = 1.0 if self._slow_start else 1 / self.limit
                self.limit = min(float(self._ceiling), self.limit + step)
            elif ending == "congested":
                self._shrink(began, retry_after)
            self._changed.notify_all()

    @property
    def open_in(self) -> float:
        """Seconds until calls are allowed again, 0 when they are."""
        return max(0.0, self._open_at - time.monotonic())

    def _shrink(self, began: float, retry_after: float | None) -> None:
        if 1 - sum(self._endings) / len(self._endings) <= _SHARE:
            return
        self._slow_start = False
        now = time.monotonic()
        if began >= self._shrunk_at:  # what started before the last cut tells nothing new
            self.limit = max(1.0, self.limit / 2)
            self._shrunk_at = now
        if retry_after:
            until = max(self._open_at, now + retry_after)
            self.paused_seconds += until - max(self._open_at, now)
            self._open_at = until
