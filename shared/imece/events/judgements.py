"""Questions for the judge model and for people, and their answers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imece.events.base import Count, Event, Name, Part, ShortText, Text, Topic


class JudgementRequested(Event):
    """Which of two answers is better? Both orders are asked; names of models are not shown."""

    topic: ClassVar[Topic] = Topic(
        "imece.judgement.requested.v1",
        "item",
        ("evaluator", "upstream"),
        ("llm-judge",),
        public=True,
    )
    item: Name
    evaluation: Name
    prompt: Text
    answer_a: Annotated[str, Field(max_length=100_000)]
    answer_b: Annotated[str, Field(max_length=100_000)]
    reference: ShortText = ""
    rubric: ShortText = ""


class Usage(Part):
    """What a verdict cost."""

    calls: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    seconds: float = 0


class JudgementCompleted(Event):
    """The verdict; `unscored` is not a tie and not a zero, its reason is named."""

    topic: ClassVar[Topic] = Topic(
        "imece.judgement.completed.v1",
        "item",
        ("llm-judge",),
        ("evaluator", "upstream"),
        public=True,
    )
    item: Name
    evaluation: Name
    verdict: Literal["a", "b", "tie", "unscored"]
    reason: ShortText = ""
    first_order: Literal["a", "b", "tie", "unscored"]
    second_order: Literal["a", "b", "tie", "unscored"]
    judge: ShortText
    weak: bool = False
    """True for the built-in local judge: it may rank, it must not promote."""
    usage: Usage = Usage()


class ReviewRequested(Event):
    """A question for people: quarantined feedback or an uncertain judgement."""

    topic: ClassVar[Topic] = Topic(
        "imece.review.requested.v1",
        "item",
        ("feedback-guard",),
        ("people",),
        public=True,
    )
    item: Name
    origin: Literal["judgement", "feedback"]
    prompt: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2)]


class ReviewAnswered(Event):
    """One person's answer: the index of the option, or a skip with a reason."""

    topic: ClassVar[Topic] = Topic(
        "imece.review.answered.v1",
        "item",
        ("people",),
        ("feedback-guard",),
        public=True,
    )
    item: Name
    reviewer: Name
    choice: Annotated[int, Field(ge=0, le=100)] | None = None
    reason: ShortText = ""
