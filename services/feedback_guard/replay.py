"""The guard in one process, without Kafka: for replays under another policy, and for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from imece import tokens
from imece.events import (
    AnswerVerified,
    Envelope,
    FeedbackDecided,
    FeedbackSubmitted,
    JudgementCompleted,
    OpinionGiven,
    OpinionRequested,
    ReviewAnswered,
    RevocationRequested,
)
from services.feedback_guard import asking, claims, later, stage, store, tables
from services.feedback_guard.content import ModelScores
from services.feedback_guard.policy import Policy
from services.feedback_guard.revocation import takeover


class Guard:
    """Both stages over one database; the same functions that the Kafka handlers call.

    `url` names the database; by default everything is kept in memory and forgotten.
    """

    def __init__(
        self,
        policy: Policy,
        url: str = "sqlite://",
        keys: Mapping[str, bytes] | None = None,
        *,
        asks: bool = False,
    ) -> None:
        self.policy = policy
        self._keys = keys or {}
        self.changed: list[FeedbackDecided] = []
        """Later versions that no call returned: of quarantine that ended, of takeovers."""
        self.asks = asks
        self.asked: list[OpinionRequested] = []
        """Whom to ask for second opinions, when `asks`; whoever reads them clears the list."""
        self._database = tables.database(url)

    def submit(
        self, events: Sequence[Envelope[FeedbackSubmitted]], scores: Sequence[ModelScores] = ()
    ) -> list[FeedbackDecided]:
        """Run both stages on a batch and return one decision for each event, in order.

        `scores` is what the optional classifiers said of each event, if there were any.
        """
        if not events:
            return []
        decided, changed, asked = self._database.transact(self._batch, events, scores)
        self.changed += changed
        self.asked += asked if self.asks else ()
        return [*decided]

    def _batch(
        self,
        connection: Connection,
        events: Sequence[Envelope[FeedbackSubmitted]],
        scores: Sequence[ModelScores],
    ) -> tuple[Sequence[FeedbackDecided], Sequence[FeedbackDecided], Sequence[OpinionRequested]]:
        """Return the decisions on these events, changes of earlier ones, and whom to ask."""
        scored = store.score_all(connection, events, self.policy, self._keys, scores)
        now = max(event.time for event in events)
        done = stage.two(connection, scored, now, self.policy, self._keys)
        changed = [*done.ended]
        for item in scored:
            if item.changed is not None:
                changed += later.revoke(connection, takeover(item), self.policy)
        return done.decided, changed, done.asked

    def learn(self, answers: Mapping[str, str], tenant: str = "default") -> list[FeedbackDecided]:
        """Take upstream's own answers (by question) as reference; returns what that resolved."""
        known = {
            claims.claim_id(tenant, question): claims.answer_key(answer, question)
            for question, answer in answers.items()
        }
        return self._database.transact(later.add_references, known, self.policy)

    def answer(self, review: ReviewAnswered) -> list[FeedbackDecided]:
        """Book a person's answer to a review (its item is `item_of` the feedback); see `learn`."""
        if review.choice is None:
            return []
        key = review.item.removeprefix("feedback:")
        right = review.choice == 0
        return self._database.transact(later.add_review, key, review.reviewer, right, self.policy)

    def compared(self, told: JudgementCompleted) -> list[FeedbackDecided]:
        """Book a verdict of the reference model as it came over Kafka."""
        return self._database.transact(later.add_preference, told, self.policy)

    def verified(self, told: AnswerVerified) -> list[FeedbackDecided]:
        """Book what the operator's tests said, as it came over Kafka."""
        return self._database.transact(later.add_verified, told, self.policy)

    def opinion_on(self, given: OpinionGiven, at: datetime) -> list[FeedbackDecided]:
        """Book an opinion as it came over Kafka, if it was invited (with keys that can tell)."""
        token = given.token or ""
        if self._keys and tokens.check(token, self._keys, given.item, given.user, at):
            return []
        key = given.item.removeprefix("feedback:")
        return self._database.transact(
            later.add_review, key, given.user, given.right, self.policy, sampled=True
        )

    def opinion(
        self,
        feedback: Envelope[FeedbackSubmitted],
        user: str,
        right: bool,
        at: datetime | None = None,
    ) -> list[FeedbackDecided]:
        """Book the word of a randomly chosen user on the answer that `feedback` is for."""
        key = store.feedback_key(feedback.source, feedback.id)
        changed = self._database.transact(
            later.add_review, key, user, right, self.policy, sampled=True
        )
        if self.asks:
            now, cause = at or feedback.time, f"{key}|{user}"
            self.asked += self._database.transact(
                asking.after, key, now, self.policy, self._keys, cause=cause
            )
        return changed

    def revoke(self, request: RevocationRequested) -> list[FeedbackDecided]:
        """Take back what the request names and what rested on it; returns the new versions."""
        return self._database.transact(later.revoke, request, self.policy)


def item_of(feedback: Envelope[FeedbackSubmitted]) -> str:
    """Return the item under which people are asked about this feedback."""
    return f"feedback:{store.feedback_key(feedback.source, feedback.id)}"
