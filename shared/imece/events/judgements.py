"""Questions for the judge model and for people, and their answers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from imece.events.base import Count, Event, Name, Part, ShortText, Text, Topic

SUSPECTED_INJECTION = "suspected_injection"
"""Flag of a judgement: an answer seems to give the judge orders; nobody was asked about it."""
UNCERTAIN = "uncertain"
"""Flag of a judgement: the judge itself could not settle it."""


class JudgementRequested(Event):
    """Which of two answers is better, or is one good enough? Names of models are not shown."""

    topic: ClassVar[Topic] = Topic(
        "imece.judgement.requested.v1",
        "item",
        ("evaluator", "feedback-guard", "upstream"),
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
    mode: Literal["pairwise", "pointwise"] = "pairwise"
    """Pairwise asks in both orders; pointwise scores `answer_a` alone, `answer_b` is empty."""
    criteria: Annotated[tuple[ShortText, ...], Field(max_length=8)] = ()
    """What a pointwise judgement scores from 1 to 5 each; without them correctness."""
    pass_at: Annotated[float, Field(ge=1, le=5)] = 4
    """Pointwise: the mean score from which the answer passes; computed, never asked for."""
    slice: Name = "default"
    """Kind of item; a judge is calibrated for each slice by itself."""
    families: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    """Model families of the answers, that of a first, so that none judges itself unseen."""
    people: bool = True
    """False: whoever asks puts doubts to people itself."""

    @model_validator(mode="after")
    def _one_answer_is_judged_alone(self) -> JudgementRequested:
        if self.mode == "pointwise" and self.answer_b:
            raise ValueError("a pointwise judgement has no answer_b")
        return self


class Usage(Part):
    """What a verdict cost."""

    calls: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    seconds: float = 0
    cached: Count | None = None
    """Replies taken from earlier identical calls; they cost nothing again."""
    money: float | None = None
    """What the calls cost, in the currency of the judge's prices; None without prices."""


class JudgementCompleted(Event):
    """The verdict; `unscored` is not a tie and not a zero, its reason is named."""

    topic: ClassVar[Topic] = Topic(
        "imece.judgement.completed.v1",
        "item",
        ("llm-judge",),
        ("evaluator", "feedback-guard", "upstream"),
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
    mode: Literal["pairwise", "pointwise"] = "pairwise"
    """Pointwise: `a` is an answer that passes, `b` one that does not."""
    score: Annotated[float, Field(ge=1, le=5)] | None = None
    """Pointwise: mean over the criteria."""
    scores: Annotated[tuple[Annotated[float, Field(ge=1, le=5)], ...], Field(max_length=8)] = ()
    """Pointwise: the score of each criterion, the mean over the judges."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of votes (each judge in each order) that agree with the verdict."""
    stage: Count = 0
    """Place in the cascade that decided, 0 for the first."""
    flags: tuple[Name, ...] = ()
    """What a reader has to know: `suspected_injection`, `same_family`, `uncertain`, …"""
    slice: Name = "default"
    prompt_version: Name | None = None
    calibration: Name | None = None
    """Digest of the valid calibration that covers this verdict; without one it only ranks."""


class Invitation(Part):
    """One user who is asked, and the token that goes back with the opinion."""

    user: Name
    token: Annotated[str, Field(max_length=300)] | None = None


class OpinionRequested(Event):
    """Ask these randomly chosen users which answer is right; only their opinions count."""

    topic: ClassVar[Topic] = Topic(
        "imece.opinion.requested.v1",
        "item",
        ("feedback-guard",),
        ("upstream",),
        public=True,
    )
    item: Name
    prompt: Text
    answer: Text
    """The answer in doubt: is it right?"""
    invited: Annotated[tuple[Invitation, ...], Field(min_length=1)]
    tenant: Name = "default"


class OpinionGiven(Event):
    """One invited user's word on an answer; who was not invited has no valid token."""

    topic: ClassVar[Topic] = Topic(
        "imece.opinion.given.v1",
        "item",
        ("upstream",),
        ("feedback-guard",),
        public=True,
    )
    item: Name
    user: Name
    right: bool
    token: Annotated[str, Field(max_length=300)] | None = None


class ReviewRequested(Event):
    """A question for people: quarantined feedback or a judgement; the first one of an item stands.

    Whether people see it is drawn by its criticality. An option that is only `tie` is shown last,
    as a tie. Nothing that is shown may name a model or tell a verdict. With `answer` people rate
    that one text: the options are then the levels, the lowest first, one item a criterion.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.review.requested.v1",
        "item",
        ("feedback-guard", "llm-judge", "upstream"),
        ("review",),
        public=True,
    )
    item: Name
    origin: Literal["judgement", "feedback"]
    prompt: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2)]
    criticality: Literal["low", "medium", "high", "safety"] = "high"
    """How much a wrong answer costs; `high` and `safety` are always asked."""
    uncertain: bool = False
    """The judge contradicted itself, was near its threshold, gave no verdict or smelt a trick."""
    slice: Name = "default"
    """Kind of item; people's shares are estimated for each slice by itself."""
    answer: Annotated[str, Field(max_length=100_000)] = ""
    """What is rated, shown below the prompt; empty when options are compared."""
    criterion: ShortText = ""
    """What the levels are about, such as "is it true?"; only with `answer`."""
    predicted: Annotated[float, Field(ge=0, le=1)] | None = None
    """What a judge expects, never shown: the chance of the first option, or the level as a share
    of the highest. It lets few answers of people speak for items that nobody was asked."""

    @model_validator(mode="after")
    def _levels_fit_the_keys(self) -> ReviewRequested:
        if self.answer and (len(self.options) > 9 or "tie" in self.options):
            raise ValueError("an answer is rated on two to nine levels, none of them a tie")
        if self.criterion and not self.answer:
            raise ValueError("a criterion needs the answer that is rated")
        return self


class ReviewAnswered(Event):
    """One person's answer, final: the index of the option, or a skip with a reason."""

    topic: ClassVar[Topic] = Topic(
        "imece.review.answered.v1",
        "item",
        ("review",),
        ("feedback-guard",),
        public=True,
    )
    item: Name
    reviewer: Name
    choice: Annotated[int, Field(ge=0, le=100)] | None = None
    reason: ShortText = ""
    adjudicated: bool = False
    """The answer that settles what others disagreed on."""
    inclusion: Annotated[float, Field(gt=0, le=1)] = 1
    """Probability that the item was asked at all: what an estimate has to divide by."""
    slice: Name = "default"
