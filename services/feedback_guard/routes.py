"""Kafka handlers of feedback-guard."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from imece import tokens
from imece.events import (
    AnswerVerified,
    Correction,
    DatasetPublished,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Instruction,
    JudgementCompleted,
    OpinionGiven,
    Reason,
    ReviewAnswered,
    RevocationRequested,
    caused,
    derived_id,
)
from imece.runtime.app import Publish
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.datasets import read
from imece.runtime.delivery import Rejected, Subscription, batch, each
from services.feedback_guard import (
    announce,
    asking,
    audit,
    budgets,
    claims,
    later,
    reference,
    revocation,
    stage,
    store,
)
from services.feedback_guard.announce import SOURCE
from services.feedback_guard.content import ModelScores
from services.feedback_guard.evidence import contradicts
from services.feedback_guard.policy import Policy
from services.feedback_guard.revocation import takeover
from services.feedback_guard.rows import refuse

_AT_ONCE = 1_000
_DECIDED = Counter("imece_feedback_decided", "Decisions", ["verdict"])
_SECONDS = Histogram("imece_feedback_decision_seconds", "From the event's time to its decision")
_AGAINST = Counter("imece_feedback_contradictions", "Feedback against the answer", ["young"])
_OLDEST = Gauge("imece_feedback_quarantine_left_seconds", "Until the oldest wait ends")
_UNINVITED = Counter("imece_feedback_uninvited", "Opinions without invitation", ["reason"])
_AUDITED = Gauge("imece_feedback_audited", "Accepted rows that people checked in 30 days")
_POISON = Gauge("imece_feedback_poison_rate", "Share of them that was wrong")
_POISON_UPPER = Gauge("imece_feedback_poison_rate_upper", "The most that it may be, 95 % sure")
_REASONS = Counter("imece_feedback_reason", "Reasons of decisions", ["verdict", "reason"])


Scores = Callable[[Sequence[Envelope[FeedbackSubmitted]]], Sequence[ModelScores]]
"""Asks the optional classifiers about a batch."""


class Routes:
    """Handlers: load, decide, save, publish."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        publish: Publish,
        policy: Policy,
        keys: Mapping[str, bytes] | None = None,
        *,
        scores: Scores | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._publish = publish
        self._policy = policy
        self._keys = keys or {}
        self._scores = scores

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the guard consumes."""
        return (
            batch(FeedbackSubmitted, self.on_submitted, self.on_rejected),
            batch(FeedbackScored, self.on_scored),
            each(DatasetPublished, self.on_dataset),
            each(ReviewAnswered, self.on_review),
            each(OpinionGiven, self.on_opinion),
            batch(JudgementCompleted, self.on_judgements),
            each(AnswerVerified, self.on_verified),
            each(RevocationRequested, self.on_revocation),
        )

    async def on_submitted(self, events: Sequence[Envelope[FeedbackSubmitted]]) -> None:
        scores = await asyncio.to_thread(self._scores, events) if self._scores else ()
        scored = await self._database.run(store.score_all, events, self._policy, self._keys, scores)
        await self._publish(
            *(caused(s, SOURCE, event) for s, event in zip(scored, events, strict=True)),
            *(
                caused(takeover(s), SOURCE, event)
                for s, event in zip(scored, events, strict=True)
                if s.changed is not None
            ),
        )

    async def on_rejected(self, rejected: Rejected) -> None:
        """Tell upstream about feedback that is no valid event; it is parked besides."""
        if rejected.id is None or rejected.source is None:
            return
        decided = FeedbackDecided(
            feedback=rejected.id,
            feedback_source=rejected.source,
            user="unknown",
            verdict="reject",
            reasons=(
                Reason(code="invalid", detail=f"{rejected.reason}: {rejected.message}"[:500]),
            ),
            score=0,
            policy=self._policy.version,
            record_set="feedback",
        )
        key = store.feedback_key(rejected.source, rejected.id)
        first = await self._database.run(refuse, key, decided)
        await self._publish(announce.decided(first))

    async def on_scored(self, events: Sequence[Envelope[FeedbackScored]]) -> None:
        scored = [event.data for event in events]
        # Ends waits at the newest time of these events, which is never in the future.
        now = min(max(item.submitted for item in scored), datetime.now(UTC))
        done = await self._database.run(stage.two, scored, now, self._policy, self._keys)
        decided, ended = done.decided, done.ended
        if done.next_end is not None:
            _OLDEST.set(done.next_end - now.timestamp())
        checks = [
            announce.check(item)
            for item, decision in zip(scored, decided, strict=True)
            if audit.drawn(store.key_of(item), item, decision, self._policy)
        ]
        reviews = [
            announce.review(item)
            for item, decision in zip(scored, decided, strict=True)
            if decision.verdict == "quarantine" and isinstance(item.feedback.signal, Correction)
        ]
        questions = [*reviews, *checks, *map(announce.asked, done.asked)]
        questions += map(announce.compared, done.compared)
        campaigns = [announce.flagged(key, flag) for key, flag in done.flags.items()]
        await self._publish(*map(announce.decided, [*decided, *ended]), *questions, *campaigns)
        _count([*decided, *ended])
        against = [budgets.is_young(item, self._policy) for item in scored if contradicts(item)]
        for young, number in Tally(against).items():
            _AGAINST.labels(str(young).lower()).inc(number)
        now = datetime.now(UTC)
        for item in scored:
            _SECONDS.observe(max(0.0, (now - item.submitted).total_seconds()))

    async def on_dataset(self, event: Envelope[DatasetPublished]) -> None:
        """Take the answers of upstream's trusted records as reference."""
        if event.data.dataset not in self._policy.trusted_record_sets:
            return
        rows = await asyncio.to_thread(read, self._artifacts, event.data.ref, ["instruction"])
        known: dict[str, str] = {}
        for row in rows:
            record = row.record
            if isinstance(record, Instruction) and row.origin.get("user") is None:
                claim = claims.claim_id("default", record.prompt)
                known.setdefault(claim, claims.answer_key(record.response, record.prompt))
        decided = await self._database.run(later.add_references, known, self._policy, _cause(event))
        await self._publish(*map(announce.decided, decided))
        _count(decided)

    async def on_review(self, event: Envelope[ReviewAnswered]) -> None:
        answer = event.data
        if answer.choice is None or not answer.item.startswith("feedback:"):
            return
        key, right = answer.item.removeprefix("feedback:"), answer.choice == 0
        found = await self._database.run(audit.book, key, right, event.time, self._policy)
        if found is not None:
            _AUDITED.set(found.checked)
            _POISON.set(found.rate)
            _POISON_UPPER.set(found.upper)
        decided = await self._database.run(
            later.add_review, key, answer.reviewer, right, self._policy, cause=_cause(event)
        )
        await self._publish(*map(announce.decided, decided))
        _count(decided)

    async def on_opinion(self, event: Envelope[OpinionGiven]) -> None:
        """Book the word of an invited user; without token keys upstream vouches for them."""
        given = event.data
        if self._keys:
            problem = tokens.check(
                given.token or "", self._keys, given.item, given.user, event.time
            )
            if problem is not None:
                _UNINVITED.labels(problem).inc()
                return
        key = given.item.removeprefix("feedback:")
        decided = await self._database.run(
            later.add_review,
            key,
            given.user,
            given.right,
            self._policy,
            sampled=True,
            cause=_cause(event),
        )
        more = await self._database.run(
            asking.after, key, event.time, self._policy, self._keys, cause=_cause(event)
        )
        await self._publish(*map(announce.decided, decided), *map(announce.asked, more))
        _count(decided)

    async def on_verified(self, event: Envelope[AnswerVerified]) -> None:
        """Book what the operator's tests say of an answer."""
        decided = await self._database.run(
            later.add_verified, event.data, self._policy, _cause(event)
        )
        await self._publish(*map(announce.decided, decided))
        _count(decided)

    async def on_judgements(self, events: Sequence[Envelope[JudgementCompleted]]) -> None:
        """Book what the reference model prefers; all other verdicts are somebody else's."""
        for event in events:
            if event.data.item.startswith(reference.PREFIX):
                decided = await self._database.run(
                    later.add_preference, event.data, self._policy, _cause(event)
                )
                await self._publish(*map(announce.decided, decided))
                _count(decided)

    async def on_revocation(self, event: Envelope[RevocationRequested]) -> None:
        """Take back what is named; who has trained on it hears of every row."""
        changed = await self._database.run(later.revoke, event.data, self._policy, _cause(event))
        gone = [announce.revoked(d, event.data) for d in changed if revocation.was_accepted(d)]
        news = [*gone, *map(announce.decided, changed)]
        for at in range(0, len(news), _AT_ONCE):
            await self._publish(*news[at : at + _AT_ONCE])
        _count(changed)


def _cause(event: Envelope[Any]) -> str:
    return derived_id(event.source, event.id)


def _count(decided: Sequence[FeedbackDecided]) -> None:
    for verdict, number in Tally(decision.verdict for decision in decided).items():
        _DECIDED.labels(verdict).inc(number)
    reasons = Tally((d.verdict, reason.code) for d in decided for reason in d.reasons)
    for labels, number in reasons.items():
        _REASONS.labels(*labels).inc(number)
