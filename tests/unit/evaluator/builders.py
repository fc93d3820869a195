"""Items and judgements for tests."""

from __future__ import annotations

from collections.abc import Sequence

from imece.events import JudgementCompleted
from services.evaluator.core import Item, Question, grade


def question(number: int, *, slice: str = "clean", guard: bool = False) -> Question:
    return Question(f"s/{number}", "s", f"q{number}?", ("yes",), slice, guard, not guard)


def items(right: Sequence[bool], *, slice: str = "clean", guard: bool = False) -> list[Item]:
    """Answers to questions of one slice: right ones say yes, wrong ones no."""
    start = 10_000 * (1 + sum(map(ord, slice)))
    return [
        grade(question(start + i, slice=slice, guard=guard), "yes" if good else "no")
        for i, good in enumerate(right)
    ]


def judged(
    item: str, verdict: str, *, evaluation: str = "e", weak: bool = True
) -> JudgementCompleted:
    return JudgementCompleted.model_validate(
        {
            "item": item,
            "evaluation": evaluation,
            "verdict": verdict,
            "first_order": verdict,
            "second_order": verdict,
            "judge": "test",
            "weak": weak,
        }
    )
