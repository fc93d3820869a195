"""One OpenAI-compatible endpoint: ask, retry while there is time, never take trouble for a zero."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imece.events import JudgementRequested
from imece.runtime.endpoint import Choice, Line, Trouble
from imece.runtime.families import family_of
from imece.runtime.patience import shown
from services.llm_judge import ask, core
from services.llm_judge.core import Chat, Outcome, Reply, Unscored
from services.llm_judge.panel import Opinion

CALLS = Counter("imece_judge_calls", "Calls to the judge model", ["outcome"])


class Prices(BaseModel):
    """Money for a million tokens, in one currency for all judges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: Annotated[float, Field(ge=0)]
    written: Annotated[float, Field(ge=0)]

    def of(self, read: int, written: int) -> float:
        """Return what so many tokens cost."""
        return (read * self.read + written * self.written) / 1e6


class Purse(Protocol):
    """A hard budget: what is reserved is spent until it is settled."""

    async def reserve(self, account: str, tokens: int, money: float) -> bool: ...

    async def settle(self, account: str, tokens: int, money: float) -> None: ...


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[Choice]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat under way: how to read its reply, until when, and on whose account."""

    request: JudgementRequested
    chat: Chat
    form: dict[str, Any]
    deadline: float


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
        family: str | None = None,
        prices: Prices | None = None,
        most_calls: int = 16,
        purse: Purse | None = None,
    ) -> None:
        self.model, self.weak = model, weak
        self.family = family or family_of(model)
        self.patience = deadline_seconds
        self.prices = prices
        self.line = Line(base_url, api_key, most_calls)
        self._timeout, self._max_tokens = timeout_seconds, max_tokens
        self._purse = purse

    async def close(self) -> None:
        """Close the connections."""
        await self.line.close()

    def keys(self, request: JudgementRequested) -> tuple[str, ...]:
        """Return the addresses of the replies that this judge would give."""
        form = ask.response_format(request, ties=not self.weak)
        return tuple(
            ask.cache_key(self.model, chat, form, self._max_tokens) for chat in ask.chats(request)
        )

    async def opinion(
        self, request: JudgementRequested, known: Mapping[str, str], fresh: dict[str, str]
    ) -> Opinion:
        """Ask all chats of `request`; `known` replies are not asked again, new ones go to `fresh`.

        Always returns, at the latest at the deadline.
        """
        deadline = time.monotonic() + self.patience
        form = ask.response_format(request, ties=not self.weak)
        replies = await asyncio.gather(
            *(
                self._remembered(Asked(request, chat, form, deadline), key, known, fresh)
                for chat, key in zip(ask.chats(request), self.keys(request), strict=True)
            )
        )
        return Opinion(self.model, self.family, tuple(replies))

    async def _remembered(
        self, asked: Asked, key: str, known: Mapping[str, str], fresh: dict[str, str]
    ) -> Reply:
        if key in known:
            outcome = ask.read(asked.request, known[key])
            if not isinstance(outcome, Unscored):
                return Reply(outcome, cached=True)
        reply, said = await self._order(asked)
        if said is not None and not isinstance(reply.outcome, Unscored):
            fresh[key] = said
        return reply

    async def _order(self, asked: Asked) -> tuple[Reply, str | None]:
        reply, said = await self._patiently(asked)
        if isinstance(reply.outcome, Unscored) and reply.outcome.reason == "bad_response":
            second, said = await self._patiently(asked)
            reply = second.after(reply)
        if said is None or not isinstance(reply.outcome, Unscored):
            return reply, said
        if reply.outcome.reason == "refused" or time.monotonic() >= asked.deadline:
            return reply, said
        again = replace(asked, chat=core.repair(asked.chat, said))
        repaired, said = await self._patiently(again)
        return repaired.after(reply), said

    async def _patiently(self, asked: Asked) -> tuple[Reply, str | None]:
        """Call until there is an answer or no time; returns also the text that was said."""
        answer, calls = await self.line.patiently(
            lambda seconds: self._paid(asked, seconds), asked.deadline, self._timeout
        )
        if not isinstance(answer, Trouble):
            reply, said = answer
            return replace(reply, calls=calls), said
        passing = max(answer.retry_after or 0.0, 1.0) if answer.passing else None
        return Reply(Unscored(answer.reason, answer.detail), calls, passing=passing), None

    async def _paid(self, asked: Asked, seconds: float) -> tuple[Reply, str | None] | Trouble:
        """Make one call, if the budget allows it."""
        most = self._most_tokens(asked)
        if self._purse and not await self._purse.reserve(asked.request.evaluation, *most):
            spent = "the evaluation has spent what it may"
            return Trouble("budget", spent, passing=False, called=False)
        body = await self.line.chat(
            seconds,
            model=self.model,
            messages=asked.chat,
            response_format=asked.form,
            max_tokens=self._max_tokens,
            temperature=0,
        )
        if isinstance(body, Trouble):
            CALLS.labels("http_429" if body.reason == "rate_limited" else body.reason).inc()
            return body
        reply, said = _read(asked.request, body)
        CALLS.labels("unreadable" if isinstance(reply.outcome, Unscored) else "scored").inc()
        await self._settle(asked, most, reply)
        return reply, said

    def _most_tokens(self, asked: Asked) -> tuple[int, float]:
        """Return the tokens and money that a call can cost at most: a token has a byte or more."""
        read = sum(len(message["content"].encode()) + 16 for message in asked.chat)
        money = self.prices.of(read, self._max_tokens) if self.prices else 0.0
        return read + self._max_tokens, money

    async def _settle(self, asked: Asked, most: tuple[int, float], reply: Reply) -> None:
        """Give back what a call did not cost; one that told no usage stays charged in full."""
        used = reply.prompt_tokens + reply.completion_tokens
        if self._purse and used:
            money = self.money(reply) or 0.0
            await self._purse.settle(asked.request.evaluation, used - most[0], money - most[1])

    def money(self, reply: Reply) -> float | None:
        """Return what a reply cost; None without prices."""
        if self.prices is None:
            return None
        return self.prices.of(reply.prompt_tokens, reply.completion_tokens)


def _read(request: JudgementRequested, body: str) -> tuple[Reply, str | None]:
    """Read the body of a 200: it may still be a proxy's HTML or half a JSON."""
    try:
        completion = _Completion.model_validate_json(body)
        choice = completion.choices[0]
    except (ValidationError, IndexError):
        return Reply(Unscored("bad_response", shown(body)), 1, passing=1.0), None
    usage = completion.usage or _Usage()
    said = choice.message.content or ""
    outcome = _outcome(request, choice, said)
    reply = Reply(outcome, 1, max(0, usage.prompt_tokens), max(0, usage.completion_tokens))
    return reply, said


def _outcome(request: JudgementRequested, choice: Choice, said: str) -> Outcome:
    if choice.message.refusal:
        return Unscored("refused", shown(choice.message.refusal))
    if choice.finish_reason == "content_filter":
        return Unscored("refused", "content filter")
    read = ask.read(request, said)
    if isinstance(read, Unscored) and choice.finish_reason == "length":
        return Unscored("truncated", shown(said))
    return read
