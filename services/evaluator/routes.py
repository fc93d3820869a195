"""Kafka handlers of the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from imece.errors import RejectedError
from imece.events import (
    AdapterTrained,
    AuditRecorded,
    BreakerCleared,
    CanaryReported,
    Envelope,
    EvaluationCompleted,
    EvaluationPlan,
    EvaluationRequested,
    Event,
    Failure,
    JobCancelRequested,
    JudgementCompleted,
    ModelRef,
    PromotionApproved,
    caused,
)
from imece.runtime import bases
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.delivery import Subscription, batch, each
from imece.runtime.jobs import Job, JobRequest
from imece.runtime.jobs import store as job_store
from imece.runtime.jobs.runner import Jobs
from services.evaluator import clears, core, proposals, store
from services.evaluator.settings import ENDPOINT

log = structlog.get_logger()
SCHEMES = (ENDPOINT, *bases.SCHEMES)


class Routes:
    """Handlers: load, decide, save, publish."""

    def __init__(
        self, database: Database, jobs: Jobs, publish: Publish, timeout_seconds: int
    ) -> None:
        self._database, self._jobs, self._publish = database, jobs, publish
        self._timeout = timeout_seconds

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the evaluator consumes."""
        return (
            each(EvaluationRequested, self.on_asked),
            each(AdapterTrained, self.on_asked),
            batch(JudgementCompleted, self.on_judgements),
            each(PromotionApproved, self.on_approval),
            each(BreakerCleared, self.on_cleared),
            each(CanaryReported, self.on_canary),
            each(JobCancelRequested, self._jobs.on_cancel),
        )

    async def on_asked(
        self, event: Envelope[EvaluationRequested] | Envelope[AdapterTrained]
    ) -> None:
        asked = core.asked(event)
        if asked is None:
            return
        check(asked)
        champion = await self._database.run(store.champion)
        previous = await self._database.run(store.champion, store.PREVIOUS)
        baseline = core.baseline_of(asked, champion, previous)
        id = core.evaluation_id(event)
        kept = await self._database.run(store.add, id, asked, baseline, event.traceparent)
        learned = core.learned(event.data)
        request = job_request(kept, self._timeout, learned)
        if asked.plan.probes_of is not None:
            request.request["probes"] = await self._broken(asked.plan.probes_of)
        await self._jobs.submit(event, request)

    async def _broken(self, evaluation: str) -> dict[str, str]:
        """Return where the probes of an evaluation lie."""
        job = await self._database.run(job_store.get, evaluation)
        result = (job.result if job else None) or {}
        if "probes" not in result:
            raise RejectedError(
                "no_probes", f"evaluation {evaluation} has asked no probes", "/plan/probes_of"
            )
        return {"uri": result["probes"], "digest": result["probes_digest"]}

    async def on_judgements(self, events: Sequence[Envelope[JudgementCompleted]]) -> None:
        await self._database.run(store.add_judgements, [event.data for event in events])

    async def on_approval(self, event: Envelope[PromotionApproved]) -> None:
        answer = await self._database.run(proposals.answer, event.data)
        log.info("gate.word", evaluation=event.data.evaluation, by=event.data.by, answer=answer)
        if (error := refused(event.data, answer)) is not None:
            raise error

    async def on_cleared(self, event: Envelope[BreakerCleared]) -> None:
        said = event.data
        known = await self._database.run(clears.clear, said)
        if not known:
            raise RejectedError(
                "nothing_to_clear",
                f"none of the decisions that {said.by} names is about {said.model};"
                " see `imece gate explain`",
                "/evaluations",
            )
        audit = AuditRecorded(
            service="evaluator",
            action="breaker.cleared",
            subject=said.model,
            actor=said.by,
            detail=f"{', '.join(known)}. {said.note}"[:2000],
        )
        await self._publish(caused(audit, store.SOURCE, event))
        log.info("gate.cleared", model=said.model, by=said.by, decisions=len(known))

    async def on_canary(self, event: Envelope[CanaryReported]) -> None:
        answer = await self._database.run(proposals.report, event.data)
        log.info("gate.canary", evaluation=event.data.evaluation, by=event.data.by, answer=answer)
        if (error := refused(event.data, answer)) is not None:
            raise error


def refused(
    said: PromotionApproved | CanaryReported, answer: proposals.Answer
) -> RejectedError | None:
    """Return why a word on a promotion does not count; one that comes too late harms nothing."""
    what = f"evaluation {said.evaluation}"
    if answer == "unknown":
        return RejectedError("unknown_evaluation", f"there is no {what}; see `imece gate pending`")
    if answer == "early":
        return RejectedError("nothing_to_approve", f"no promotion waits for people after {what}")
    if answer == "own":
        return RejectedError(
            "own_request", f"{said.by} asked for {what}; somebody else has to approve it", "/by"
        )
    if answer == "stranger":
        return RejectedError("no_such_canary", f"{what} waits for no canary of {said.by}", "/by")
    if answer == "shrunk":
        return RejectedError(
            "counts_shrank",
            f"a report on {what} counts less than the one before; count from its beginning",
            "/wins",
        )
    return None


def check(asked: core.Asked) -> None:
    """Raise RejectedError where no attempt could ever succeed."""
    for ref in (asked.ref, asked.plan.baseline):
        if ref is None:
            continue
        if not ref.base.startswith(SCHEMES):
            raise RejectedError(
                "unknown_base_scheme",
                f"base {ref.base!r} of {ref.name} has no known scheme; write hf:ORG/NAME@REV,"
                " wheel:NAME==VERSION, endpoint:NAME or an absolute folder",
                "/ref/base",
            )
        if ref.adapter is not None and ref.base.startswith(ENDPOINT):
            raise RejectedError(
                "endpoint_with_adapter",
                f"{ref.name}: an endpoint serves a model as it is; name the adapter there",
                "/ref/adapter",
            )
        if ref.adapter is not None and ref.adapter_digest is None:
            raise RejectedError(
                "no_adapter_digest",
                f"the adapter of {ref.name} comes without its digest, so it cannot be verified",
                "/ref/adapter_digest",
            )


def job_request(
    kept: store.Evaluation, timeout_seconds: int, learned: Mapping[str, Any] | None = None
) -> JobRequest:
    """Return the job that answers the suites; `learned` says how an adapter was made."""
    request = {
        "ref": kept.asked.ref.model_dump(mode="json"),
        "plan": kept.asked.plan.model_dump(mode="json"),
        "baseline": kept.baseline.model_dump(mode="json") if kept.baseline else None,
        "learned": learned,
    }
    return JobRequest(kept.id, kept.asked.model, request, timeout_seconds=timeout_seconds)


def results(job: Job, result: Mapping[str, Any]) -> Sequence[Event]:
    """Return what to publish once `job` has succeeded; probes asked again measure nothing."""
    if "probes" in job.request:
        return ()
    return (
        EvaluationCompleted(
            model=job.model,
            evaluation=job.id,
            ref=ModelRef.model_validate(job.request["ref"]),
            suites=EvaluationPlan.model_validate(job.request["plan"]).suites,
            metrics=result["metrics"],
            items=result["items"],
            items_digest=result["items_digest"],
        ),
    )


def failures(job: Job, failure: Failure) -> Sequence[Event]:
    """Return what to publish once `job` has failed for good."""
    return (
        EvaluationCompleted(
            model=job.model,
            evaluation=job.id,
            ref=ModelRef.model_validate(job.request["ref"]),
            suites=EvaluationPlan.model_validate(job.request["plan"]).suites,
            metrics=(),
            failure=failure,
        ),
    )
