"""One OpenAI-compatible endpoint: ask, retry while there is time, never take trouble for a zero."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import openai
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from imece.events import JudgementCompleted, JudgementRequested
from services.llm_judge import core
from services.llm_judge.core import Reply, Unscored

CALLS = Counter("imece_judge_calls", "Calls to the judge model", ["outcome"])
_AGAIN = {408, 409, 425, 429}


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A call that failed in a way that may pass."""

    unscored: Unscored
    retry_after: float | None = None


class Endpoint:
    """A judge model behind an URL; `weak` marks all of its verdicts."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str,
        timeout_seconds: float,
        deadline_seconds: float,
        max_tokens: int,
        weak: bool = False,
    ) -> None:
        self.model, self.weak = model, weak
        self._timeout, self._patience = timeout_seconds, deadline_seconds
        self._max_tokens = max_tokens
        # Retries are ours alone: two layers of them would hide a 429 from the one that can wait.
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def judge(self, request: JudgementRequested) -> JudgementCompleted:
        """Ask in both orders; always returns, at the latest at the deadline."""
        began = time.monotonic()
        deadline = began + self._patience
        first, second = await asyncio.gather(
            self._order(core.messages(request, swapped=False), deadline),
            self._order(core.messages(request, swapped=True), deadline),
        )
        return core.completed(
            request,
            (first, second),
            judge=self.model,
            weak=self.weak,
            seconds=time.monotonic() - began,
        )

    async def _order(self, asked: list[dict[str, str]], deadline: float) -> Reply:
        reply, said = await self._patiently(asked, deadline)
        if said is None or not isinstance(reply.outcome, Unscored):
            return reply
        if reply.outcome.reason == "refused" or time.monotonic() >= deadline:
            return reply
        repaired, _ = await self._patiently(core.repair(asked, said), deadline)
        return repaired.after(reply)

    async def _patiently(
        self, asked: list[dict[str, str]], deadline: float
    ) -> tuple[Reply, str | None]:
        """Call until there is an answer or no time; returns also the text that was said."""
        calls = 0
        trouble = _Trouble(Unscored("deadline"))
        while (left := deadline - time.monotonic()) > 0:
            calls += 1
            answer = await self._call(asked, min(self._timeout, left))
            if not isinstance(answer, _Trouble):
                reply, said = answer
                return reply.after(Reply(reply.outcome, calls - 1)), said
            trouble = answer
            wait = core.wait_before(calls, trouble.retry_after, random.random())
            if time.monotonic() + wait >= deadline:
                break
            await asyncio.sleep(wait)
        return Reply(trouble.unscored, calls), None

    async def _call(
        self, asked: list[dict[str, str]], seconds: float
    ) -> tuple[Reply, str | None] | _Trouble:
        try:
            async with asyncio.timeout(seconds):  # the SDK's timeout starts anew with each byte
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self.model,
                    messages=cast(Any, asked),
                    response_format=cast(Any, core.response_format(ties=not self.weak)),
                    max_tokens=self._max_tokens,
                    temperature=0,
                    timeout=seconds,
                )
                body = raw.http_response.text
        except (TimeoutError, openai.APITimeoutError):
            CALLS.labels("timeout").inc()
            return _Trouble(Unscored("timeout", f"no answer within {seconds:.1f} s"))
        except openai.APIStatusError as error:
            return _status(error)
        except openai.APIConnectionError as error:
            CALLS.labels("unreachable").inc()
            return _Trouble(Unscored("unreachable", core.shown(str(error.__cause__ or error))))
        reply, said = _read(body)
        CALLS.labels("scored" if isinstance(reply.outcome, core.Verdict) else "unreadable").inc()
        return reply, said


def _status(error: openai.APIStatusError) -> tuple[Reply, str | None] | _Trouble:
    code = error.status_code
    CALLS.labels(f"http_{code}").inc()
    reason = "rate_limited" if code == 429 else f"http_{code}"
    unscored = Unscored(reason, "" if code == 429 else core.shown(error.message))
    if code in _AGAIN or code >= 500:
        header = error.response.headers.get("retry-after")
        return _Trouble(unscored, core.retry_after(header, datetime.now(UTC)))
    return Reply(unscored, 1), None


def _read(body: str) -> tuple[Reply, str | None]:
    """Read the body of a 200: it may still be a proxy's HTML or half a JSON."""
    try:
        completion = _Completion.model_validate_json(body)
        choice = completion.choices[0]
    except (ValidationError, IndexError):
        return Reply(Unscored("bad_response", core.shown(body)), 1), None
    usage = completion.usage or _Usage()
    said = choice.message.content or ""
    outcome = _outcome(choice, said)
    reply = Reply(outcome, 1, max(0, usage.prompt_tokens), max(0, usage.completion_tokens))
    return reply, said


def _outcome(choice: _Choice, said: str) -> core.Verdict | Unscored:
    if choice.message.refusal:
        return Unscored("refused", core.shown(choice.message.refusal))
    if choice.finish_reason == "content_filter":
        return Unscored("refused", "content filter")
    read = core.read(said)
    if isinstance(read, Unscored) and choice.finish_reason == "length":
        return Unscored("truncated", core.shown(said))
    return read
