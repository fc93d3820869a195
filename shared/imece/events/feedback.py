"""Feedback from users, and what the guard decided about it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, model_validator

from imece.events.base import Count, Event, Name, Part, ShortText, Text, Topic
from imece.events.records import Instruction, PreferencePair, Rated


class Thumb(Part):
    """Up or down on the answer that was shown."""

    kind: Literal["thumb"] = "thumb"
    up: bool


class Rating(Part):
    """One to five stars for the answer that was shown."""

    kind: Literal["rating"] = "rating"
    stars: Annotated[int, Field(ge=1, le=5)]


class Correction(Part):
    """What the answer should have been."""

    kind: Literal["correction"] = "correction"
    text: Text


Signal = Annotated[Thumb | Rating | Correction, Field(discriminator="kind")]


class FeedbackSubmitted(Event):
    """One user's reaction to one answer; at most one stands per (user, response)."""

    topic: ClassVar[Topic] = Topic(
        "imece.feedback.submitted.v1",
        "user",
        ("upstream",),
        ("feedback-guard",),
        12,
        public=True,
    )
    user: Name
    response: Name
    """Id of the answer that the user saw."""
    prompt: Text
    answer: Text
    """The answer as it was shown."""
    signal: Signal
    comment: ShortText = ""
    model: Name = "unknown"
    record_set: Name = "feedback"
    """Data set that accepted feedback goes to."""
    tenant: Name = "default"
    device: Name | None = None
    account_created: AwareDatetime | None = None
    token: Annotated[str, Field(max_length=300)] | None = None
    """Proof that this user was shown this answer, as `imece.tokens.mint` made it."""


class Reason(Part):
    """One reason of a decision: a stable code, its weight in nats (positive: poison)."""

    code: Name
    nats: float = 0
    detail: ShortText = ""


class FeedbackScored(Event):
    """Stage one's findings about one feedback event, keyed by claim for stage two (private)."""

    topic: ClassVar[Topic] = Topic(
        "imece.feedback.scored.v1", "claim", ("feedback-guard",), ("feedback-guard",), 12
    )
    claim: Name
    """Hash of (tenant, question); all paraphrases of a question share it."""
    answer: ShortText
    """Canonical form of the answer that this feedback votes for (or against, see `stance`)."""
    stance: Literal[-1, 1]
    feedback: FeedbackSubmitted
    feedback_id: str
    feedback_source: str
    submitted: AwareDatetime
    trust: float
    """Log-odds that this user is right on such claims, before this event."""
    reasons: tuple[Reason, ...] = ()
    signature: tuple[int, ...] = ()
    """MinHash of what the user wants changed."""
    phrases: tuple[Name, ...] = ()
    """Hashes of the rare phrases of the row that this feedback would become."""
    subject: Name = "other"
    """What the question is about; a user's record is kept by subject."""
    weight: Annotated[float, Field(ge=0, le=1)] = 1
    """How much a vote counts; less than 1 without proof that the user saw the answer."""
    changed: AwareDatetime | None = None
    """Since when the account behaves like somebody else's, if it does."""
    injection: Annotated[float, Field(ge=0, le=1)] | None = None
    """What the optional classifier of orders said of text and comment."""
    toxicity: Annotated[float, Field(ge=0, le=1)] | None = None
    """What the optional classifier of harmful texts said of the text that would be taught."""
    hard: Name | None = None
    """Reason code of a rejection that no evidence can heal."""


class AnswerVerified(Event):
    """What the operator's tests say of an answer that waits (private)."""

    topic: ClassVar[Topic] = Topic(
        "imece.answer.verified.v1", "claim", ("feedback-guard",), ("feedback-guard",), 12
    )
    claim: Name
    answer: ShortText
    """Canonical form of the answer, as in `feedback.scored`."""
    right: bool


class FeedbackDecided(Event):
    """The guard's verdict; accepted feedback carries the training row that it becomes."""

    topic: ClassVar[Topic] = Topic(
        "imece.feedback.decided.v1",
        "feedback",
        ("feedback-guard",),
        ("ingest", "upstream"),
        12,
        365,
        public=True,
    )
    feedback: str
    feedback_source: str
    user: Name
    claim: Name | None = None
    verdict: Literal["accept", "quarantine", "reject"]
    reasons: tuple[Reason, ...]
    score: float
    """Log-odds that the feedback is poison; the sum of the reasons' nats."""
    version: Count = 1
    """Later versions replace earlier ones, when quarantine resolves."""
    policy: Name
    record_set: Name
    row: Annotated[Instruction | PreferencePair | Rated, Field(discriminator="kind")] | None = None

    @model_validator(mode="after")
    def _only_accepted_train(self) -> FeedbackDecided:
        if self.row is not None and self.verdict != "accept":
            raise ValueError("only accepted feedback carries a row")
        return self


class FeedbackRevoked(Event):
    """Accepted feedback that must leave all data sets."""

    topic: ClassVar[Topic] = Topic(
        "imece.feedback.revoked.v1",
        "feedback",
        ("feedback-guard",),
        ("ingest", "upstream"),
        12,
        365,
        public=True,
    )
    feedback: str
    feedback_source: str
    version: Count
    reason: Name
    by: Name


class CampaignFlagged(Event):
    """Accounts act in lockstep: they are a new cluster, or one that has doubled."""

    topic: ClassVar[Topic] = Topic(
        "imece.campaign.flagged.v1", "tenant", ("feedback-guard",), ("operator",), 3, 365
    )
    tenant: Name
    cluster: Name
    """The name that the reason `lockstep` gives and revocations take; it names no user."""
    reason: Literal["lockstep"] = "lockstep"
    accounts: Annotated[int, Field(ge=2)]
    before: Count
    """Accounts of the largest of the clusters that it has grown from; 1: there was none."""
    first_seen: AwareDatetime
    """When the first of its accounts was seen in lockstep."""
    last_seen: AwareDatetime
    shared: Annotated[float, Field(ge=0)]
    """Weight of the contradictions that the pair shares which was seen last."""
    rows: Annotated[float, Field(ge=0)]
    """Rows of the cluster that its budget still counts."""


class RevocationRequested(Event):
    """Take back accepted feedback, and what rested on it; what is given must all apply."""

    topic: ClassVar[Topic] = Topic(
        "imece.revocation.requested.v1",
        "request",
        ("operator", "evaluator", "feedback-guard"),
        ("feedback-guard",),
        3,
        365,
    )
    request: Name
    reason: Name
    by: Name
    tenant: Name = "default"
    user: Name | None = None
    claim: Name | None = None
    phrase: ShortText | None = None
    """Words that stand in the question or in what is taught, whatever their case."""
    cluster: Name | None = None
    """Accounts that act in lockstep, by the name that the reason `lockstep` gives."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """Times when the feedback was given, both included."""

    @model_validator(mode="after")
    def _names_something(self) -> RevocationRequested:
        named = (self.user, self.claim, self.phrase, self.cluster, self.since)
        if all(x in (None, "") for x in named):
            raise ValueError("name a user, a claim, a phrase, a cluster or a time since when")
        return self


def training_row(
    feedback: FeedbackSubmitted,
) -> Instruction | PreferencePair | Rated | None:
    """Return the row that this feedback becomes, or None when it teaches nothing by itself.

    A correction is preferred to the answer shown, so it serves supervised and preference training.
    A thumb, or stars other than three, says whether the answer shown is wanted.
    """
    signal = feedback.signal
    if isinstance(signal, Correction):
        if signal.text == feedback.answer:
            return Instruction(prompt=feedback.prompt, response=signal.text)
        return PreferencePair(prompt=feedback.prompt, chosen=signal.text, rejected=feedback.answer)
    if isinstance(signal, Rating) and signal.stars == 3:
        return None
    wanted = signal.up if isinstance(signal, Thumb) else signal.stars > 3
    return Rated(prompt=feedback.prompt, response=feedback.answer, desirable=wanted)
