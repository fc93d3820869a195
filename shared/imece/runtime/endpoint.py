"""Calls to one OpenAI-compatible endpoint: one limiter, no hidden retries, trouble by its name."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import openai
from pydantic import BaseModel

from imece.runtime.limiter import Ending, Limiter
from imece.runtime.patience import retry_after, shown, wait_before

_AGAIN = {408, 409, 425, 429}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer: a stable reason and what was seen."""

    reason: str
    detail: str = ""
    passing: bool = True
    """It may be over after a while."""
    retry_after: float | None = None
    called: bool = True
    """The endpoint was reached for, so a call is counted."""


class Message(BaseModel):
    """What a model said."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One answer of `chat/completions`, and why it ended."""

    message: Message
    finish_reason: str | None = None


class Line:
    """The client of one endpoint; all callers of it share its limiter."""

    def __init__(self, base_url: str, api_key: str, most_calls: int) -> None:
        """Nothing is connected yet."""
        self.limiter = Limiter(most_calls)
        # Retries are ours alone: two layers of them would hide a 429 from the one that can wait.
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def chat(self, seconds: float, **body: Any) -> str | Trouble:
        """Return the body of a 200 of `chat/completions`, read or not readable."""
        return await self._called(self._client.chat.completions, seconds, body)

    async def complete(self, seconds: float, **body: Any) -> str | Trouble:
        """Return the body of a 200 of `completions`."""
        return await self._called(self._client.completions, seconds, body)

    async def _called(self, what: Any, seconds: float, body: dict[str, Any]) -> str | Trouble:
        try:
            async with asyncio.timeout(seconds):  # the SDK's timeout starts anew with each byte
                raw = await what.with_raw_response.create(**body, timeout=seconds)
                text: str = raw.http_response.text
                return text
        except (TimeoutError, openai.APITimeoutError):
            return Trouble("timeout", f"no answer within {seconds:.1f} s")
        except openai.APIStatusError as error:
            return _status(error)
        except openai.APIConnectionError as error:
            return Trouble("unreachable", shown(str(error.__cause__ or error)))

    async def patiently(
        self, attempt: Callable[[float], Awaitable[T | Trouble]], deadline: float, timeout: float
    ) -> tuple[T | Trouble, int]:
        """Try until there is an answer, lasting trouble or no time; also how many calls it took.

        `attempt` gets the seconds that it may take; `deadline` is monotonic.
        """
        calls = 0
        trouble = Trouble("deadline")
        while time.monotonic() < deadline:
            began = await self.limiter.enter(deadline)
            if began is None:
                if not calls:
                    trouble = Trouble("rate_limited", "", True, self.limiter.open_in)
                break
            left = deadline - began
            answer = await self._turn(attempt, began, min(timeout, left))
            if not isinstance(answer, Trouble):
                return answer, calls + 1
            if not answer.passing:
                return answer, calls + answer.called
            # A try that only the deadline cut off says less than the trouble before it.
            if not (calls and answer.reason == "timeout" and left < timeout):
                trouble = answer
            calls += answer.called
            wait = wait_before(calls, trouble.retry_after, random.random())
            if time.monotonic() + wait >= deadline:
                break
            await asyncio.sleep(wait)
        return trouble, calls

    async def _turn(
        self, attempt: Callable[[float], Awaitable[T | Trouble]], began: float, seconds: float
    ) -> T | Trouble:
        """Make one attempt in a turn that has begun, and let the limiter learn from it."""
        ending: Ending = "other"
        retry_after = None
        try:
            answer = await attempt(seconds)
            if not isinstance(answer, Trouble):
                ending = "good"
            elif answer.called:
                ending = "congested" if answer.passing else "good"
                retry_after = answer.retry_after
            return answer
        finally:
            await asyncio.shield(self.limiter.leave(began, ending, retry_after))


def _status(error: openai.APIStatusError) -> Trouble:
    code = error.status_code
    reason = "rate_limited" if code == 429 else f"http_{code}"
    detail = "" if code == 429 else shown(error.message)
    if code in _AGAIN or code >= 500:
        header = error.response.headers.get("retry-after")
        return Trouble(reason, detail, True, retry_after(header, datetime.now(UTC)))
    return Trouble(reason, detail, passing=False)
