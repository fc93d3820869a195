"""What an evaluation asks, how an answer is graded, and who is compared with whom: all pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from imece.events import (
    AdapterTrained,
    Envelope,
    EvaluationCase,
    EvaluationPlan,
    EvaluationRequested,
    LabelledExample,
    ModelRef,
    Record,
    derived_id,
)
from imece.runtime.text import contains_answer, fold
from services.evaluator.scores import extract, likelihood

GRADER = "answers/2"
"""Raise it when grading changes, so that stored items are made anew."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask; `labels` is the suite's label set for labelled examples, else empty."""

    id: str
    suite: str
    prompt: str
    expected: tuple[str, ...]
    slice: str
    guard: bool = False
    free_form: bool = False
    labels: tuple[str, ...] = ()
    context: str = ""
    choices: tuple[str, ...] = ()
    scoring: str = "generation"
    group: str = ""
    language: str = ""
    metrics: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """What the model reads: the context, then the prompt."""
        return f"{self.context}\n\n{self.prompt}" if self.context else self.prompt


@dataclass(frozen=True, slots=True)
class Item:
    """A question with a model's answer.

    `label` is the label or choice that was read, None unparsed. `logps` are the log
    probabilities (nats) of the choices, or of the expected text. `unscored` says why there is no
    answer to grade; such an item is neither right nor wrong.
    """

    id: str
    suite: str
    prompt: str
    expected: tuple[str, ...]
    slice: str
    guard: bool
    free_form: bool
    labels: tuple[str, ...]
    answer: str
    label: str | None
    correct: bool
    exact: bool
    strict: bool = False
    choices: tuple[str, ...] = ()
    scoring: str = "generation"
    group: str = ""
    language: str = ""
    metrics: tuple[str, ...] = ()
    logps: tuple[float, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    unscored: str = ""
    leak: str = ""
    """The training row of the model that gives the question away."""

    @property
    def graded(self) -> bool:
        """Tell whether it is right or wrong at all."""
        return not self.unscored and self.scoring != "bits"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one event asks the evaluator to do."""

    model: str
    ref: ModelRef
    plan: EvaluationPlan
    origin: str | None = None
    """What a whole model was made from, where `ref` does not say."""


def asked(event: Envelope[EvaluationRequested] | Envelope[AdapterTrained]) -> Asked | None:
    """Return what `event` asks for; None for an adapter that nobody wants tested."""
    data = event.data
    plan = data.plan if isinstance(data, EvaluationRequested) else data.evaluation
    if plan is None:
        return None
    origin = None
    if isinstance(data, AdapterTrained) and data.ref.adapter is None:
        origin = data.base
    return Asked(data.model, data.ref, plan, origin)


def learned(data: EvaluationRequested | AdapterTrained) -> dict[str, Any] | None:
    """Return what a model that the gate decides on was made of, where the event says it."""
    if (
        not isinstance(data, AdapterTrained)
        or data.evaluation is None
        or not data.evaluation.decide
    ):
        return None
    told = data.model_dump(mode="json", include={"base", "recipe", "datasets", "without"})
    return dict(told)


def evaluation_id(event: Envelope[Any]) -> str:
    """Return the id of the evaluation (and its job) that `event` causes."""
    return derived_id("evaluation", event.source, event.id)


def baseline_of(
    asked: Asked, champion: ModelRef | None, previous: ModelRef | None = None
) -> ModelRef | None:
    """Return what to compare with: the plan's, else the champion, else the bare base.

    The champion itself is compared with the one before it: if it breaks a check, it is rolled back.
    """
    if not asked.plan.decide:
        return None
    if asked.origin is not None:
        bare = ModelRef(name="base", base=asked.origin)
    else:
        bare = ModelRef(name="base", base=asked.ref.base, base_digest=asked.ref.base_digest)
    if champion is not None and same_model(asked.ref, champion):
        champion = previous
    return asked.plan.baseline or champion or bare


def same_model(one: ModelRef, other: ModelRef) -> bool:
    """Tell whether two references mean the same weights, whatever they are called."""
    return (one.base, one.adapter_digest) == (other.base, other.adapter_digest)


def questions(suite: str, rows: Iterable[tuple[str, Record]]) -> list[Question]:
    """Return the questions of one suite; rows of other kinds ask nothing."""
    rows = list(rows)
    labels = tuple(sorted({r.label for _, r in rows if isinstance(r, LabelledExample)}))
    found = []
    for id, record in rows:
        key = f"{suite}/{id}"
        if isinstance(record, EvaluationCase):
            fields = {name: getattr(record, name) for name in type(record).model_fields}
            del fields["kind"]
            found.append(Question(key, suite, **fields))
        elif isinstance(record, LabelledExample) and record.label:
            expected = (record.label,)
            found.append(Question(key, suite, record.text, expected, suite, labels=labels))
    return found


def grade(question: Question, answer: str) -> Item:
    """Return `question` with `answer` and whether it is right; an unreadable label is wrong."""
    exact = fold(answer).rstrip(".!") in {fold(text).rstrip(".!") for text in question.expected}
    label = None
    if known := question.labels or question.choices:
        label = read_label(answer, known)
        correct = label in question.expected
    else:
        correct = contains_answer(answer, question.expected, question.prompt)
    return Item(
        **_kept(question),
        answer=answer,
        label=label,
        correct=correct,
        exact=exact,
        strict=extract.strict(answer, question.expected),
    )


def grade_likelihood(question: Question, logps: Sequence[float]) -> Item:
    """Return `question` with the log probabilities of its choices, or of its expected text."""
    answer = label = None
    if question.choices:
        answer = label = question.choices[likelihood.choose(logps).choice]
    right = label in question.expected
    return Item(
        **_kept(question),
        answer=answer or "",
        label=label,
        correct=right,
        exact=right,
        strict=right,
        logps=tuple(logps),
    )


def unscored(question: Question, reason: str) -> Item:
    """Return `question` without an answer; `reason` is a short name such as `endpoint_failed`."""
    return Item(
        **_kept(question), answer="", label=None, correct=False, exact=False, unscored=reason
    )


def _kept(question: Question) -> dict[str, Any]:
    return {name: value for name, value in asdict(question).items() if name != "context"}


def read_label(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that `answer` says: itself, or the only one it contains."""
    by_fold = {fold(label): label for label in labels}
    said = fold(answer).rstrip(".! ")
    if said in by_fold:
        return by_fold[said]
    found = [label for label in labels if contains_answer(answer, (label,))]
    # "not spam" contains "spam" when both are labels: a part of another found label says nothing.
    whole = [f for f in found if not any(f != g and fold(f) in fold(g) for g in found)]
    return whole[0] if len(whole) == 1 else None


def dump(items: Sequence[Item]) -> bytes:
    """Return items as JSON lines, the same bytes for the same items."""
    lines = (json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) for item in items)
    return "".join(line + "\n" for line in lines).encode()


def load(data: bytes) -> list[Item]:
    """Read what `dump` wrote."""
    return [item_of(json.loads(line)) for line in data.decode().split("\n") if line]


def item_of(row: Mapping[str, Any]) -> Item:
    """Return the item of one parsed JSON line."""
    lists = ("expected", "labels", "choices", "metrics", "logps")
    return Item(**{**row, **{name: tuple(row.get(name, ())) for name in lists}})
