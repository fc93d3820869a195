"""What the judge is asked: two answers without their names, and whom it preferred."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from imece.events import JudgementCompleted, JudgementRequested, derived_id
from imece.runtime.families import UNKNOWN
from services.evaluator.core import Item

LONGEST_JUDGED = 20_000
"""So many characters of an answer the judge reads; a request has to fit into an event."""


def candidate_is_a(evaluation: str, item: str) -> bool:
    """Decide blindly, but the same way each time, which answer is shown as a."""
    return hashlib.sha256(f"{evaluation}\x1f{item}".encode()).digest()[0] % 2 == 0


def to_judge(
    evaluation: str,
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    limit: int,
    families: tuple[str, str] = (UNKNOWN, UNKNOWN),
) -> list[JudgementRequested]:
    """Return questions for the judge: free-form items whose two answers differ, at most `limit`.

    `families` say who made the candidate and the baseline, so that no judge rates its own kin
    unseen.
    """
    before = {item.id: item for item in baseline if not item.unscored}
    differing = [
        (item, before[item.id])
        for item in sorted(candidate, key=lambda item: derived_id(evaluation, item.id))
        if item.free_form
        and not item.unscored
        and item.id in before
        and item.answer != before[item.id].answer
    ]
    return [_judgement(evaluation, new, old, families) for new, old in differing[:limit]]


def _judgement(
    evaluation: str, new: Item, old: Item, families: tuple[str, str]
) -> JudgementRequested:
    id = derived_id(evaluation, new.id)
    is_a = candidate_is_a(evaluation, id)
    first, second = (new, old) if is_a else (old, new)
    return JudgementRequested(
        item=id,
        evaluation=evaluation,
        prompt=new.prompt,
        answer_a=first.answer[:LONGEST_JUDGED],
        answer_b=second.answer[:LONGEST_JUDGED],
        reference=" / ".join(new.expected)[:2000],
        slice=new.slice,
        families=families if is_a else families[::-1],
    )


Preference = Literal["candidate", "baseline", "tie", "unscored"]


def preference(judgement: JudgementCompleted) -> Preference:
    """Return whom the judge preferred, the blinding undone."""
    if judgement.verdict in ("tie", "unscored"):
        return "tie" if judgement.verdict == "tie" else "unscored"
    is_a = candidate_is_a(judgement.evaluation, judgement.item)
    return "candidate" if (judgement.verdict == "a") == is_a else "baseline"
