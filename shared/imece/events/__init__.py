"""The event contracts: one class per event, the topic declared on the class.

Names, keys and meaning are in the classes; topics, JSON Schemas, the AsyncAPI document and the
README's table are generated from `EVENTS`.
"""

from __future__ import annotations

from imece.events.audit import AuditRecorded
from imece.events.base import Envelope, Event, Name, Topic, caused, derived_id, new
from imece.events.feedback import (
    AnswerVerified,
    Correction,
    FeedbackDecided,
    FeedbackRevoked,
    FeedbackScored,
    FeedbackSubmitted,
    Rating,
    Reason,
    RevocationRequested,
    Thumb,
    training_row,
)
from imece.events.judgements import (
    Invitation,
    JudgementCompleted,
    JudgementRequested,
    OpinionGiven,
    OpinionRequested,
    ReviewAnswered,
    ReviewRequested,
    Usage,
)
from imece.events.models import (
    AdaptationRequested,
    AdapterTainted,
    AdapterTrained,
    Check,
    EvaluationCompleted,
    EvaluationPlan,
    EvaluationRequested,
    Failure,
    JobCancelRequested,
    JobState,
    LeftOut,
    Metric,
    ModelRef,
    ModelTrained,
    Progress,
    PromotionDecided,
    State,
    TrainingRequested,
)
from imece.events.promotions import (
    BreakerCleared,
    CanaryReported,
    PromotionApproved,
    PromotionProposed,
)
from imece.events.recipes import (
    AdaptationRecipe,
    Dpo,
    FullRecipe,
    Ia3Recipe,
    Kto,
    LoraRecipe,
    PretrainingRecipe,
    PromptRecipe,
    Sft,
)
from imece.events.records import (
    DatasetPublished,
    DatasetRef,
    Document,
    EvaluationCase,
    Instruction,
    LabelledExample,
    PreferencePair,
    Rated,
    Record,
    RecordRejected,
    RecordSubmitted,
    Turn,
)
from imece.events.sweeps import Choices, FloatRange, IntRange, Study, Sweep, Trial
from imece.events.wire import Message, decode, encode

SERVICES = ("ingest", "trainer", "adapter", "evaluator", "llm-judge", "feedback-guard", "review")

EVENTS: tuple[type[Event], ...] = (
    RecordSubmitted,
    RecordRejected,
    DatasetPublished,
    TrainingRequested,
    AdaptationRequested,
    JobCancelRequested,
    JobState,
    ModelTrained,
    AdapterTrained,
    AdapterTainted,
    EvaluationRequested,
    EvaluationCompleted,
    JudgementRequested,
    JudgementCompleted,
    ReviewRequested,
    ReviewAnswered,
    OpinionRequested,
    OpinionGiven,
    PromotionProposed,
    PromotionApproved,
    BreakerCleared,
    CanaryReported,
    PromotionDecided,
    FeedbackSubmitted,
    FeedbackScored,
    AnswerVerified,
    FeedbackDecided,
    FeedbackRevoked,
    RevocationRequested,
    AuditRecorded,
)


def dead_topic(service: str) -> Topic:
    """Return the dead-letter topic of a service: original bytes, nothing decoded."""
    return Topic(f"imece.{service}.dead.v1", "original", (service,), ("operator",), 1, 90)


def topics() -> tuple[Topic, ...]:
    """Return every topic of the system, dead letters included."""
    return tuple(kind.topic for kind in EVENTS) + tuple(dead_topic(name) for name in SERVICES)


__all__ = [
    "EVENTS",
    "SERVICES",
    "AdaptationRecipe",
    "AdaptationRequested",
    "AdapterTainted",
    "AdapterTrained",
    "AnswerVerified",
    "AuditRecorded",
    "BreakerCleared",
    "CanaryReported",
    "Check",
    "Choices",
    "Correction",
    "DatasetPublished",
    "DatasetRef",
    "Document",
    "Dpo",
    "Envelope",
    "EvaluationCase",
    "EvaluationCompleted",
    "EvaluationPlan",
    "EvaluationRequested",
    "Event",
    "Failure",
    "FeedbackDecided",
    "FeedbackRevoked",
    "FeedbackScored",
    "FeedbackSubmitted",
    "FloatRange",
    "FullRecipe",
    "Ia3Recipe",
    "Instruction",
    "IntRange",
    "Invitation",
    "JobCancelRequested",
    "JobState",
    "JudgementCompleted",
    "JudgementRequested",
    "Kto",
    "LabelledExample",
    "LeftOut",
    "LoraRecipe",
    "Message",
    "Metric",
    "ModelRef",
    "ModelTrained",
    "Name",
    "OpinionGiven",
    "OpinionRequested",
    "PreferencePair",
    "PretrainingRecipe",
    "Progress",
    "PromotionApproved",
    "PromotionDecided",
    "PromotionProposed",
    "PromptRecipe",
    "Rated",
    "Rating",
    "Reason",
    "Record",
    "RecordRejected",
    "RecordSubmitted",
    "ReviewAnswered",
    "ReviewRequested",
    "RevocationRequested",
    "Sft",
    "State",
    "Study",
    "Sweep",
    "Thumb",
    "Topic",
    "TrainingRequested",
    "Trial",
    "Turn",
    "Usage",
    "caused",
    "dead_topic",
    "decode",
    "derived_id",
    "encode",
    "new",
    "topics",
    "training_row",
]
