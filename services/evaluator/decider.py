"""The gate's clock: after the answers it asks the judge, waits for it, decides and tells.

Everything it does is stored before it is told, under derived ids, so it may die anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter

from imece.errors import RejectedError, UnavailableError
from imece.events import (
    AuditRecorded,
    Check,
    JudgementCompleted,
    PromotionDecided,
    PromotionProposed,
)
from imece.runtime.app import Publish
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.families import UNKNOWN
from imece.runtime.jobs import Job
from imece.runtime.jobs.model import TERMINAL
from services.evaluator import blind, breaker, clears, evidence, proposals, store
from services.evaluator.breaker import Breach
from services.evaluator.core import Item
from services.evaluator.evidence import Evidence, Part
from services.evaluator.leaveout import LeaveOut
from services.evaluator.policy import Policy
from services.evaluator.store import Evaluation

log = structlog.get_logger()
PARTS = ("items", "baseline")
VERDICTS = Counter("imece_promotions", "Gate decisions", ["verdict"])


class Decider:
    """Takes finished evaluations to their decision."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        publish: Publish,
        policy: Policy,
        *,
        judge_seconds: float,
        tick_seconds: float,
    ) -> None:
        self._database, self._artifacts, self._publish = database, artifacts, publish
        self._policy = policy
        self._leave_out = LeaveOut(database, artifacts, publish, policy)
        self._patience, self._tick = judge_seconds, tick_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Look after all unfinished evaluations until `stop`."""
        while not stop.is_set():
            try:
                await self.tick(time.time())
            except UnavailableError as error:
                log.warning("gate.postponed", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._tick)

    async def tick(self, now: float) -> None:
        """Take each unfinished evaluation as far as it can go at `now`."""
        for evaluation, job in await self._database.run(store.unfinished):
            if job is None or job.state not in TERMINAL:
                continue
            if job.state != "succeeded":
                await self._database.run(store.finish, evaluation.id)
            elif evaluation.state == "measuring":
                await self._measured(evaluation, job, now)
            elif evaluation.state == "judging":
                await self._judging(evaluation, job, now)
            elif evaluation.state == "proposed":
                await self._propose(evaluation)
            elif evaluation.state == "approving":
                await self._approving(evaluation, now)
            else:
                await self._tell(evaluation, job)
        await self._leave_out.tick(now)

    async def _measured(self, evaluation: Evaluation, job: Job, now: float) -> None:
        limit = evaluation.asked.plan.judge_items
        wanted = []
        if limit:
            try:
                candidate, baseline = await self._items(job)
            except RejectedError as error:
                return await self._withhold(evaluation, _lost(error), now)
            wanted = blind.to_judge(evaluation.id, candidate, baseline, limit, _families(job))
        if wanted:
            await self._publish(*(evaluation.wrap(each, each.item) for each in wanted))
        deadline = now + self._patience
        await self._database.run(store.start_judging, evaluation.id, len(wanted), deadline)
        return None

    async def _judging(self, evaluation: Evaluation, job: Job, now: float) -> None:
        told = await self._database.run(store.judgements, evaluation.id)
        late = evaluation.judge_deadline is not None and now >= evaluation.judge_deadline
        if len(told) < evaluation.judge_asked and not late:
            return
        try:
            await self._decide(evaluation, await self._evidence(evaluation, job, told, now), now)
        except RejectedError as error:
            await self._withhold(evaluation, _lost(error), now)

    async def _decide(self, evaluation: Evaluation, inputs: Evidence, now: float) -> None:
        """Store all that the decision depends on, then decide from it, or ask people first."""
        proposal = await asyncio.to_thread(proposed, self._artifacts, inputs, now)
        if proposal is not None:
            await self._database.run(proposals.propose, evaluation.id, inputs, proposal, now)
            return
        await self._settle(evaluation, inputs, now)

    async def _settle(self, evaluation: Evaluation, inputs: Evidence, now: float) -> None:
        kept = await asyncio.to_thread(evidence.keep, self._artifacts, inputs)
        decision = await asyncio.to_thread(evidence.decide, self._artifacts, inputs, kept)
        await self._database.run(store.decide, evaluation.id, decision, now)

    async def _evidence(
        self, evaluation: Evaluation, job: Job, told: list[JudgementCompleted], now: float
    ) -> Evidence:
        result: dict[str, Any] = job.result or {}
        baseline = evaluation.baseline
        assert baseline is not None
        return Evidence(
            model=evaluation.asked.model,
            evaluation=evaluation.id,
            candidate=evaluation.asked.ref,
            baseline=baseline,
            champion=await self._database.run(store.champion),
            previous=await self._database.run(store.champion, store.PREVIOUS),
            candidate_items=_part(result, "items"),
            baseline_items=_part(result, "baseline"),
            judgements=tuple(told),
            judgements_asked=evaluation.judge_asked,
            policy=self._policy,
            unread="; ".join(
                dict.fromkeys(filter(None, (result.get(f"{p}_unread") for p in PARTS)))
            ),
            requested_by=evaluation.asked.plan.requested_by,
            probes=_part(result, "probes") if "probes" in result else None,
            unprobed=result.get("unprobed", ""),
            breaches=await self._breaches(evaluation, now),
            at=now,
        )

    async def _breaches(self, evaluation: Evaluation, now: float) -> tuple[Breach, ...]:
        policy = self._policy.breaker
        if policy is None:
            return ()
        since = breaker.since(now, policy)
        return await self._database.run(clears.breaches, evaluation.asked.model, since)

    async def _propose(self, evaluation: Evaluation) -> None:
        proposal = await self._database.run(proposals.get, evaluation.id)
        event = proposal.event
        audit = AuditRecorded(
            service="evaluator",
            action="promotion.awaiting_approval",
            subject=event.model,
            actor=f"policy:{event.policy}",
            detail=f"evaluation {evaluation.id} waits for {event.people} people"
            + (f" and the canary of {event.canary}" if event.canary else "")
            + f" until {event.expires_at.isoformat(timespec='seconds')}",
        )
        await self._publish(
            evaluation.wrap(event, at=proposal.at),
            evaluation.wrap(audit, "awaiting", at=proposal.at),
        )
        await self._database.run(proposals.told, evaluation.id)

    async def _approving(self, evaluation: Evaluation, now: float) -> None:
        """Decide as soon as people and canary have said enough, or when the time is over."""
        waiting = await self._database.run(proposals.get, evaluation.id)
        late = now >= waiting.event.expires_at.timestamp()
        if not late and not waiting.settled():
            return
        # Another champion, or a breach, may have come meanwhile; then the promotion is withheld.
        current = {
            "champion": await self._database.run(store.champion),
            "previous": await self._database.run(store.champion, store.PREVIOUS),
            "words": waiting.words,
            "breaches": await self._breaches(evaluation, now),
            "at": now,
            "canary": waiting.report,
        }
        try:
            await self._settle(evaluation, waiting.evidence.model_copy(update=current), now)
        except RejectedError as error:
            await self._withhold(evaluation, _lost(error), now)

    async def _withhold(self, evaluation: Evaluation, check: Check, now: float) -> None:
        """Decide nothing, since the answers are gone: there is no evidence to name."""
        baseline = evaluation.baseline
        assert baseline is not None
        current = await self._database.run(store.champion)
        decision = PromotionDecided(
            model=evaluation.asked.model,
            evaluation=evaluation.id,
            verdict="inconclusive",
            checks=(check,),
            candidate=evaluation.asked.ref,
            champion=current or baseline,
            policy=self._policy.name,
        )
        await self._database.run(store.decide, evaluation.id, decision, now)

    async def _tell(self, evaluation: Evaluation, job: Job) -> None:
        decision, at = evaluation.decision, evaluation.decided_at
        assert decision is not None
        audit = AuditRecorded(
            service="evaluator",
            action=f"promotion.{'rollback' if decision.rolled_back else decision.verdict}",
            subject=decision.model,
            actor=f"policy:{decision.policy}",
            detail=f"champion is {decision.champion.name} (evaluation {evaluation.id})"
            + (f"; approved by {', '.join(decision.approvals)}" if decision.approvals else ""),
        )
        await self._publish(evaluation.wrap(decision, at=at), evaluation.wrap(audit, at=at))
        await self._leave_out.begin(evaluation, job, decision)
        await self._database.run(store.finish, evaluation.id)
        VERDICTS.labels(decision.verdict).inc()
        log.info("gate.decided", model=decision.model, verdict=decision.verdict)

    async def _items(self, job: Job) -> tuple[list[Item], list[Item]]:
        result: dict[str, Any] = job.result or {}

        def load(name: str) -> list[Item]:
            return evidence.items(self._artifacts, _part(result, name))

        return await asyncio.to_thread(load, "items"), await asyncio.to_thread(load, "baseline")


def proposed(artifacts: Artifacts, inputs: Evidence, now: float) -> PromotionProposed | None:
    """Return what people or a canary are asked, where the policy wants them to be."""
    if inputs.policy.approval is None and inputs.policy.canary is None:
        return None
    verdict, checks = evidence.judge(artifacts, inputs)
    asked = evidence.waits(inputs, verdict, checks)
    if asked is None:
        return None
    people, live = asked
    hours = max(each.hours for each in asked if each is not None)
    return PromotionProposed(
        model=inputs.model,
        evaluation=inputs.evaluation,
        checks=checks,
        candidate=inputs.candidate,
        champion=inputs.champion or inputs.baseline,
        policy=inputs.policy.name,
        people=people.people if people else 0,
        requested_by=inputs.requested_by,
        expires_at=datetime.fromtimestamp(now, UTC) + timedelta(hours=hours),
        canary=live.service if live else None,
    )


def _part(result: dict[str, Any], name: str) -> Part:
    return Part(uri=result[name], digest=result[f"{name}_digest"])


def _families(job: Job) -> tuple[str, str]:
    """Return who made the candidate and the baseline."""
    result: dict[str, Any] = job.result or {}
    new, old = (str(result.get(f"{part}_family", UNKNOWN)) for part in PARTS)
    return new, old


def _lost(error: RejectedError) -> Check:
    detail = f"the answers cannot be read any more: {error}; evaluate again"
    return Check(name="stored-items", outcome="inconclusive", detail=detail)
