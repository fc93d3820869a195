"""Records that upstream publishes, and the data set versions that ingest makes of them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from imece.events.base import Count, Digest, Event, Name, Part, ShortText, Text, Topic

_NEW = {"exclude_if": lambda value: not value or value == "generation"}  # rows keep their ids


class Document(Part):
    """Plain text for pre-training."""

    kind: Literal["document"] = "document"
    text: Text


class Turn(Part):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Instruction(Part):
    """A prompt and the response to learn; `history` holds earlier turns."""

    kind: Literal["instruction"] = "instruction"
    prompt: Text
    response: Text
    history: tuple[Turn, ...] = ()


class LabelledExample(Part):
    """A text and its class."""

    kind: Literal["labelled"] = "labelled"
    text: Text
    label: ShortText


class PreferencePair(Part):
    """Two responses to one prompt, the better one named; `history` holds earlier turns."""

    kind: Literal["preference"] = "preference"
    prompt: Text
    chosen: Text
    rejected: Text
    history: Annotated[tuple[Turn, ...], Field(**_NEW)] = ()

    @model_validator(mode="after")
    def _differ(self) -> PreferencePair:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        return self


TextMetric = Literal[
    "f1",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "rouge1_stem",
    "rouge2_stem",
    "rougeL_stem",
    "bleu",
    "chrf",
    "ter",
    "cosine",
]
"""Scores of a free text against the expected ones, beyond right or wrong."""


class Rated(Part):
    """One response to a prompt, and whether it is wanted; `history` holds earlier turns."""

    kind: Literal["rated"] = "rated"
    prompt: Text
    response: Text
    desirable: bool
    history: Annotated[tuple[Turn, ...], Field(**_NEW)] = ()


class EvaluationCase(Part):
    """A question with its right answers; `guard` marks a probe that must not break.

    `scoring` is how a model is asked: it writes (`generation`), the likeliest of `choices` is its
    answer (`likelihood`), or the text of `expected` is measured in bits a byte (`bits`).
    """

    kind: Literal["evaluation-case"] = "evaluation-case"
    prompt: Text
    expected: Annotated[tuple[Text, ...], Field(min_length=1)]
    slice: Name = "all"
    guard: bool = False
    free_form: bool = False
    """Judged pairwise by llm-judge too, beyond the exact answer."""
    scoring: Annotated[Literal["generation", "likelihood", "bits"], Field(**_NEW)] = "generation"
    choices: Annotated[tuple[Text, ...], Field(**_NEW)] = ()
    context: Annotated[str, Field(max_length=100_000, **_NEW)] = ""
    """Read before the prompt and shared by many cases: solved examples, a passage."""
    group: Annotated[str, Field(max_length=200, **_NEW)] = ""
    """Cases of one group (passage, conversation, user) depend on each other."""
    language: Annotated[str, Field(pattern="^([a-z]{2,3})?$", **_NEW)] = ""
    """Decides how letters fold: `tr` keeps ı and i apart."""
    metrics: Annotated[tuple[TextMetric, ...], Field(**_NEW)] = ()

    @model_validator(mode="after")
    def _fits_scoring(self) -> EvaluationCase:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("choices repeat")
        if self.choices and (len(self.choices) < 2 or not set(self.expected) <= set(self.choices)):
            raise ValueError("expected is not among choices, or there is only one choice")
        if (self.scoring == "likelihood") > bool(self.choices):
            raise ValueError("likelihood scoring compares choices, and there are none")
        if self.scoring == "bits" and (self.choices or len(self.expected) > 1):
            raise ValueError("bits are measured on one expected text, without choices")
        return self


Record = Annotated[
    Document | Instruction | LabelledExample | PreferencePair | Rated | EvaluationCase,
    Field(discriminator="kind"),
]


class RecordSubmitted(Event):
    """One record for a record set; `ends_set` closes a data set version without waiting."""

    topic: ClassVar[Topic] = Topic(
        "imece.record.submitted.v1", "record_set", ("upstream",), ("ingest",), public=True
    )
    record_set: Name
    record: Record | None = None
    ends_set: bool = False
    license: ShortText = ""
    origin: ShortText = ""

    @model_validator(mode="after")
    def _says_something(self) -> RecordSubmitted:
        if self.record is None and not self.ends_set:
            raise ValueError("record is missing (only ends_set may come without one)")
        return self


class RecordRejected(Event):
    """A record that ingest did not take, and why."""

    topic: ClassVar[Topic] = Topic(
        "imece.record.rejected.v1", "record_set", ("ingest",), ("upstream",), public=True
    )
    record_set: Name
    event_id: str
    event_source: str
    reason: Name
    message: ShortText
    pointer: ShortText = ""


class DatasetRef(Part):
    """A data set version: `digest` is the hash of its manifest, `uri` where that lies."""

    dataset: Name
    version: Annotated[int, Field(ge=1)]
    digest: Digest
    uri: ShortText


class DatasetPublished(Event):
    """A new version; it holds all rows of its parent plus `added` new ones."""

    topic: ClassVar[Topic] = Topic(
        "imece.dataset.published.v1",
        "dataset",
        ("ingest",),
        ("adapter", "feedback-guard", "upstream"),
        partitions=3,
        retention_days=365,
        public=True,
    )
    dataset: Name
    ref: DatasetRef
    parent: Digest | None = None
    rows: Count
    added: Count
    kinds: dict[str, Count]
    splits: dict[str, Count]
