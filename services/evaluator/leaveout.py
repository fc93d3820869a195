"""After a broken second gate: adapters without each shard of authors, and what they tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from imece.errors import RejectedError
from imece.events import (
    AdaptationRequested,
    AuditRecorded,
    DatasetRef,
    Envelope,
    EvaluationPlan,
    Event,
    LeftOut,
    PromotionDecided,
    RevocationRequested,
    derived_id,
)
from imece.runtime import shards
from imece.runtime.app import Publish
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs import Job
from imece.runtime.jobs.model import TERMINAL
from services.evaluator import breaker, hunts, probes, probing, suspects
from services.evaluator.hunts import Hunt
from services.evaluator.policy import Policy
from services.evaluator.second import LeaveOutPolicy
from services.evaluator.store import SOURCE, Evaluation
from services.evaluator.suspects import Found

log = structlog.get_logger()
_PRIORITY = -50
"""Nobody waits for them as for a candidate."""


class LeaveOut:
    """Asks for adapters that each leave one shard of authors out, and names the guilty shard."""

    def __init__(
        self, database: Database, artifacts: Artifacts, publish: Publish, policy: Policy
    ) -> None:
        self._database, self._artifacts, self._publish = database, artifacts, publish
        self._policy = policy

    async def begin(self, evaluation: Evaluation, job: Job, decision: PromotionDecided) -> None:
        """Look into a decision that the second gate rejected, where the policy wants it."""
        second = self._policy.second
        learned = job.request.get("learned") or {}
        if second is None or second.leave_out is None or learned.get("without"):
            return
        if not any(name in breaker.why(decision) for name in breaker.SECOND) or not learned:
            return
        try:
            known = await asyncio.to_thread(self._authors, job)
        except RejectedError as error:
            log.warning("leaveout.rows_gone", evaluation=evaluation.id, error=str(error))
            return
        assert evaluation.decided_at is not None
        at, count = evaluation.decided_at, second.leave_out.shards
        found = suspects.present(known.values(), evaluation.id, count)
        if len(found) < 2:
            detail = "all feedback comes from one shard of authors; leaving it out tells nothing"
            await self._publish(_audit(evaluation, "leave-out.too-few", detail, at))
            return
        asked = {shard: requested(evaluation, job, shard, count) for shard in found}
        names = {shard: each.model for shard, each in asked.items()}
        await self._database.run(hunts.begin, evaluation.id, names, at.timestamp())
        await self._publish(*(evaluation.wrap(e, str(n), at) for n, e in asked.items()))

    async def tick(self, now: float) -> None:
        """Conclude from what has come back, when it is all or the time is over."""
        second = self._policy.second
        if second is None or second.leave_out is None:
            return
        for hunt in await self._database.run(hunts.unfinished):
            over = all(job.state in TERMINAL for job in hunt.jobs.values())
            late = now >= hunt.began_at + second.leave_out.hours * 3600
            if late or (over and len(hunt.jobs) == len(hunt.shards)):
                await self._conclude(hunt, second.leave_out, now)

    async def _conclude(self, hunt: Hunt, policy: LeaveOutPolicy, now: float) -> None:
        at, id = datetime.fromtimestamp(now, UTC), hunt.evaluation.id
        try:
            found, told = await asyncio.to_thread(self._found, hunt, policy)
        except RejectedError as error:
            detail = f"what the adapters answered cannot be read: {error}"
            events = [_audit(hunt.evaluation, "leave-out.unreadable", detail, at)]
        else:
            events = concluded(hunt, found, told, policy, at)
        await self._publish(*events)
        await self._database.run(hunts.finish, id)
        log.info("leaveout.concluded", evaluation=id)

    def _found(self, hunt: Hunt, policy: LeaveOutPolicy) -> tuple[Found, int]:
        second = self._policy.second
        assert second is not None
        again = {
            shard: self._probes(job) for shard, job in hunt.jobs.items() if job.state == "succeeded"
        }
        known, id = self._authors(hunt.job), hunt.evaluation.id
        answered = self._probes(hunt.job)

        def shard_of(author: str) -> int:
            return shards.of_author(author, id, policy.shards)

        return suspects.find(answered, again, second, known, shard_of), len(again)

    def _authors(self, job: Job) -> dict[str, str]:
        return suspects.authors(
            probing.lessons(self._artifacts, job.request["learned"]["datasets"])
        )

    def _probes(self, job: Job) -> list[probes.Probe]:
        result = job.result or {}
        return probes.load(self._artifacts.get(result["probes"], result["probes_digest"]))


def requested(evaluation: Evaluation, job: Job, shard: int, count: int) -> AdaptationRequested:
    """Return the request for an adapter without a shard; only broken probes are asked of it."""
    learned = job.request["learned"]
    plan = EvaluationPlan(
        suites=evaluation.asked.plan.suites, decide=False, probes_of=evaluation.id
    )
    return AdaptationRequested(
        model=f"{evaluation.asked.model[:170]}.without-{shard}-of-{count}",
        base=learned["base"] or evaluation.asked.ref.base,
        datasets=tuple(
            DatasetRef.model_validate(each, extra="ignore") for each in learned["datasets"]
        ),
        recipe=learned["recipe"],
        evaluation=plan,
        without=LeftOut(shard=shard, of=count, salt=evaluation.id),
        priority=_PRIORITY,
    )


def concluded(
    hunt: Hunt, found: Found, told: int, policy: LeaveOutPolicy, at: datetime
) -> list[Envelope[Event]]:
    """Return what is published: who is suspected, and by policy the requests to revoke them.

    Only a single shard without which the probes hold, of all shards asked, accuses anybody
    without a person.
    """
    clear = len(found.shards) == 1 and told == len(hunt.shards) and bool(found.authors)
    without = ", ".join(map(str, found.shards)) or "none"
    who = ", ".join(found.authors[: policy.most]) or "nobody"
    detail = (
        f"without shard {without} (of {policy.shards}; {told} of {len(hunt.shards)} adapters"
        f" answered) what broke in evaluation {hunt.evaluation.id} holds; of its authors these"
        f" taught what broke: {who}. "
    )
    automatic = policy.revoke and clear
    if automatic:
        detail += "They are revoked"
    elif found.authors:
        detail += "`imece guard revoke --user NAME` takes back what one of them taught"
    action = "leave-out.found" if clear else "leave-out.unclear"
    events = [_audit(hunt.evaluation, action, detail[:2000], at)]
    for author in found.authors[: policy.most] if automatic else ():
        request = derived_id(hunt.evaluation.id, "leave-out", author)
        revoke = RevocationRequested(request=request, reason="leave-out", by=SOURCE, user=author)
        events.append(hunt.evaluation.wrap(revoke, author, at))
    return events


def _audit(evaluation: Evaluation, action: str, detail: str, at: datetime) -> Envelope[Event]:
    audit = AuditRecorded(
        service="evaluator",
        action=action,
        subject=evaluation.asked.model,
        actor=SOURCE,
        detail=detail,
    )
    return evaluation.wrap(audit, "leave-out", at)
