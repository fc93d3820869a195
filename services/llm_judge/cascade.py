"""One judgement from cheap judges to strong ones to people, after a look at the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imece.events import JudgementCompleted, JudgementRequested, Usage
from imece.events.judgements import SUSPECTED_INJECTION, UNCERTAIN
from services.llm_judge import ask
from services.llm_judge.core import Reply
from services.llm_judge.endpoint import Endpoint
from services.llm_judge.panel import Decision, Opinion, decide, family_flags
from services.llm_judge.screen import suspect

PROMPT_VERSION = ask.prompt_version()


@dataclass(frozen=True)
class Stage:
    """Judges that are asked together; their verdict stands when votes agree enough."""

    judges: tuple[Endpoint, ...]
    accept: float = 1.0
    """Share of votes that have to agree; the next stage is asked below it."""


@dataclass(frozen=True)
class Judged:
    """A verdict, the new replies behind it, and in how many seconds to try again, if at all."""

    verdict: JudgementCompleted
    fresh: Mapping[str, str] = field(default_factory=dict)
    again: float | None = None


@dataclass(frozen=True)
class Cascade:
    """Stages in the order in which they are asked; the last one's doubts go to people."""

    stages: tuple[Stage, ...]

    @property
    def weak(self) -> bool:
        """Tell whether any judge is too weak for its verdict to count."""
        return any(judge.weak for stage in self.stages for judge in stage.judges)

    def keys(self, request: JudgementRequested) -> list[str]:
        """Return the addresses of all replies that a judgement may need."""
        return [
            key for stage in self.stages for judge in stage.judges for key in judge.keys(request)
        ]

    async def judge(
        self,
        request: JudgementRequested,
        known: Mapping[str, str] | None = None,
        constant: Sequence[str] = (),
    ) -> Judged:
        """Judge `request`; `known` are replies by address, `constant` the sides that never vary."""
        began = time.monotonic()
        if found := _suspicious(request, constant):
            return Judged(_flagged(request, found, self._names(), self.weak))
        fresh: dict[str, str] = {}
        asked: list[tuple[Endpoint, Opinion]] = []
        for number, stage in enumerate(self.stages):  # noqa: B007 - the last one is used below
            judges = _others(stage.judges, request)
            told = await asyncio.gather(*(j.opinion(request, known or {}, fresh) for j in judges))
            asked += zip(judges, told, strict=True)
            decision = decide(request, told)
            sure = decision.confidence is not None and decision.confidence >= stage.accept
            if sure:
                break
        usage = _usage(asked, time.monotonic() - began)
        verdict = _completed(request, decision, judges, number, usage)
        if not sure:
            verdict = verdict.model_copy(update={"flags": (*verdict.flags, UNCERTAIN)})
        return Judged(verdict, fresh, _again(decision, told))

    def _names(self) -> str:
        return ", ".join(judge.model for stage in self.stages for judge in stage.judges)


def _suspicious(request: JudgementRequested, constant: Sequence[str]) -> str | None:
    sides = {"a": request.answer_a, "b": request.answer_b}
    if request.mode == "pointwise":
        del sides["b"]
    for side, answer in sides.items():
        if code := suspect(answer, request.prompt):
            return f"answer {side}: {code}"
        if side in constant:
            return f"answer {side}: constant"
    return None


def _flagged(request: JudgementRequested, found: str, judge: str, weak: bool) -> JudgementCompleted:
    return JudgementCompleted(
        item=request.item,
        evaluation=request.evaluation,
        verdict="unscored",
        reason=f"{SUSPECTED_INJECTION}: {found}",
        first_order="unscored",
        second_order="unscored",
        judge=judge[:2000],
        weak=weak,
        mode=request.mode,
        flags=(SUSPECTED_INJECTION,),
        slice=request.slice,
        prompt_version=PROMPT_VERSION,
    )


def _others(judges: tuple[Endpoint, ...], request: JudgementRequested) -> list[Endpoint]:
    """Leave out judges of the answers' own family where others remain."""
    others = [judge for judge in judges if judge.family not in request.families]
    return others or list(judges)


def _again(decision: Decision, told: Sequence[Opinion]) -> float | None:
    """Return when to try again: only for a missing verdict whose trouble may pass."""
    waits = [r.passing for opinion in told for r in opinion.replies if r.passing is not None]
    return max(waits) if waits and decision.verdict == "unscored" else None


def _completed(
    request: JudgementRequested,
    decision: Decision,
    deciding: Sequence[Endpoint],
    stage: int,
    usage: Usage,
) -> JudgementCompleted:
    return JudgementCompleted(
        item=request.item,
        evaluation=request.evaluation,
        verdict=decision.verdict,
        reason=decision.reason,
        first_order=decision.first,
        second_order=decision.second,
        judge=", ".join(judge.model for judge in deciding)[:2000],
        weak=any(judge.weak for judge in deciding),
        usage=usage,
        mode=request.mode,
        score=decision.score,
        scores=decision.scores,
        confidence=decision.confidence,
        stage=stage,
        flags=family_flags(request, [judge.family for judge in deciding]),
        slice=request.slice,
        prompt_version=PROMPT_VERSION,
    )


def _usage(asked: Sequence[tuple[Endpoint, Opinion]], seconds: float) -> Usage:
    replies: list[tuple[Endpoint, Reply]] = [
        (judge, reply) for judge, opinion in asked for reply in opinion.replies
    ]
    costs = [cost for judge, reply in replies if (cost := judge.money(reply)) is not None]
    return Usage(
        calls=sum(reply.calls for _, reply in replies),
        prompt_tokens=sum(reply.prompt_tokens for _, reply in replies),
        completion_tokens=sum(reply.completion_tokens for _, reply in replies),
        seconds=round(seconds, 3),
        cached=sum(reply.cached for _, reply in replies),
        money=round(sum(costs), 9) if costs else None,
    )
