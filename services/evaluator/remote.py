"""Ask a model behind an OpenAI-compatible endpoint; what brings no answer is named, never a zero.

Choices are weighed only where the endpoint tells the log probabilities of the prompt; otherwise
such cases are `no_logprobs`, never answered by writing instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from imece.errors import UnavailableError
from imece.events import Metric
from imece.runtime.endpoint import Choice, Line, Trouble
from imece.runtime.patience import shown
from services.evaluator import core, openloop
from services.evaluator.core import Item, Question
from services.evaluator.settings import ModelEndpoint

log = structlog.get_logger()
NO_LOGPROBS = "no_logprobs"


class _Chat(BaseModel):
    choices: list[Choice]


class _Logprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int] | None = None


class _Weighed(BaseModel):
    logprobs: _Logprobs | None = None


class _Completion(BaseModel):
    choices: list[_Weighed]


class Remote:
    """One run of questions to one endpoint; it gives up when nothing comes for too long."""

    def __init__(
        self,
        about: ModelEndpoint,
        key: str,
        *,
        max_tokens: int,
        on_progress: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """`on_progress` hears how many questions are done, and may raise to stop."""
        self._about, self._key, self._max_tokens = about, key, max_tokens
        self._tell = on_progress
        self._heard = 0.0
        self._weighs = True
        self._lost: Counter[str] = Counter()

    def items(self, asked: Sequence[Question]) -> list[Item]:
        """Return an item a question, in order, answered or unscored by a named reason."""
        return asyncio.run(self._all(asked))

    def under_load(self, prompts: Sequence[str], rate: float, count: int) -> list[Metric]:
        """Ask at `rate` a second, whatever has not come back; what fails is not asked again.

        The first answer warms up uncounted.
        """
        return asyncio.run(self._load(prompts, rate, count)) if prompts else []

    async def _load(self, prompts: Sequence[str], rate: float, count: int) -> list[Metric]:
        line = Line(self._about.base_url, self._key, self._about.calls)

        async def ask(number: int) -> None:
            question = Question("load", "load", prompts[number % len(prompts)], (), "load")
            # No limiter: holding calls back would hide how the endpoint fares under the load.
            said = await self._write(line, question, self._about.timeout_seconds)
            if isinstance(said, Trouble):
                raise UnavailableError(said.reason)

        try:
            with contextlib.suppress(UnavailableError):
                await ask(0)
            answered = await openloop.drive(ask, openloop.arrivals(rate, count))
        finally:
            await line.close()
        return openloop.figures(answered, rate, here=False)

    async def _all(self, asked: Sequence[Question]) -> list[Item]:
        self._heard = time.monotonic()
        line = Line(self._about.base_url, self._key, self._about.calls)
        left, found = deque(asked), dict[str, Item]()

        async def work() -> None:
            while left:
                question = left.popleft()
                found[question.id] = await self._item(line, question)
                self._tell(len(found))

        workers = [asyncio.create_task(work()) for _ in range(self._about.calls)]
        try:
            await asyncio.gather(*workers)
        finally:
            for each in workers:
                each.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await line.close()
        if self._lost:
            log.warning("endpoint.unscored", **self._lost)
        return [found[question.id] for question in asked]

    async def _item(self, line: Line, question: Question) -> Item:
        if question.scoring == "generation":
            said = await self._patiently(line, lambda seconds: self._write(line, question, seconds))
            if isinstance(said, str):
                return core.grade(question, said)
        else:
            said = await self._weigh(line, question)
            if not isinstance(said, Trouble):
                return core.grade_likelihood(question, said)
        self._lost[said.reason] += 1
        return core.unscored(question, said.reason)

    async def _patiently(self, line: Line, attempt: Callable[[float], Any]) -> Any:
        """Return what one call brings, or its trouble; a dead endpoint is not asked for long."""
        now = time.monotonic()
        if now - self._heard > self._about.deadline_seconds:
            return Trouble("endpoint_gone")
        deadline = now + self._about.deadline_seconds
        answer, _ = await line.patiently(attempt, deadline, self._about.timeout_seconds)
        if not isinstance(answer, Trouble):
            self._heard = time.monotonic()
        return answer

    async def _write(self, line: Line, question: Question, seconds: float) -> str | Trouble:
        body = await line.chat(
            seconds,
            model=self._about.model,
            messages=[{"role": "user", "content": question.asked}],
            max_tokens=self._max_tokens,
            temperature=0,
        )
        return body if isinstance(body, Trouble) else read_chat(body)

    async def _weigh(self, line: Line, question: Question) -> tuple[float, ...] | Trouble:
        prompt = question.asked + "\n"
        found = []
        for text in question.choices or question.expected[:1]:
            if not self._weighs:
                return Trouble(NO_LOGPROBS)
            logp = await self._patiently(line, self._weigher(line, prompt, text))
            if isinstance(logp, Trouble):
                # One refusal speaks for the endpoint: the others are not asked in vain.
                self._weighs = self._weighs and logp.reason != NO_LOGPROBS
                return logp
            found.append(logp)
        return tuple(found)

    def _weigher(self, line: Line, prompt: str, text: str) -> Callable[[float], Any]:
        async def attempt(seconds: float) -> float | Trouble:
            body = await line.complete(
                seconds,
                model=self._about.model,
                prompt=prompt + text,
                max_tokens=1,
                temperature=0,
                echo=True,
                logprobs=1,
            )
            if isinstance(body, Trouble):
                refused = body.reason in ("http_400", "http_404", "http_405", "http_422")
                return Trouble(NO_LOGPROBS, body.detail, passing=False) if refused else body
            return read_logprob(body, prompt, text)

        return attempt


def read_chat(body: str) -> str | Trouble:
    """Return what the model wrote, its refusal included; HTML and half JSON are passing trouble."""
    try:
        choice = _Chat.model_validate_json(body).choices[0]
    except (ValidationError, IndexError):
        return Trouble("bad_response", shown(body))
    said = choice.message.content or choice.message.refusal or ""
    if not said and choice.finish_reason == "content_filter":
        return Trouble("content_filter", passing=False)
    return said.strip()


def read_logprob(body: str, prompt: str, text: str) -> float | Trouble:
    """Return the log probability (nats) of `text` after `prompt` from an echoed completion.

    A token that begins in the prompt and ends in the text counts; the token that was made anew
    does not.
    """
    try:
        told = _Completion.model_validate_json(body).choices[0].logprobs
    except (ValidationError, IndexError):
        return Trouble("bad_response", shown(body))
    refusal = Trouble(NO_LOGPROBS, "the endpoint does not tell them of its prompt", passing=False)
    if told is None or not told.tokens or len(told.tokens) != len(told.token_logprobs):
        return refusal
    starts = told.text_offset or _starts(told.tokens)
    whole = len(prompt) + len(text)
    covered = max(starts[-1], sum(map(len, told.tokens)))
    if len(starts) != len(told.tokens) or starts[0] != 0 or covered < whole:
        return refusal  # not the prompt's tokens, or not all of them
    picked = [
        logp
        for start, end, logp in zip(
            starts, [*starts[1:], whole + 1], told.token_logprobs, strict=True
        )
        if end > len(prompt) and start < whole
    ]
    known = [logp for logp in picked if logp is not None]
    if not known or len(known) != len(picked):
        return refusal
    return sum(known)


def _starts(tokens: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token)
    return starts
