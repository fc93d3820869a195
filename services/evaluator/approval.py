"""Four eyes: when a promotion waits for people, and what their words make of it; all pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from imece.events import Check
from imece.runtime.text import fold
from services.evaluator.policy import ApprovalPolicy, Outcome, Verdict


class Word(BaseModel):
    """What one person said."""

    model_config = ConfigDict(frozen=True)

    by: str
    approved: bool
    note: str = ""


def person(name: str) -> str:
    """Return what makes two spellings of a name one person."""
    return fold(name)


def wanted(
    verdict: Verdict, checks: Sequence[Check], policy: ApprovalPolicy | None, *, serving: bool
) -> bool:
    """Tell whether people are asked; a model that serves already needs nobody's word to stay."""
    if policy is None or verdict != "promote" or serving:
        return False
    flips = sum(check.numbers.get("losses", 0) for check in checks if check.name == "guard")
    return policy.when == "always" or flips > 0


def approvers(words: Sequence[Word], requested_by: str | None) -> tuple[str, ...]:
    """Return the different people who approve, without the one who asked for it."""
    found: dict[str, str] = {}
    for word in words:
        if word.approved and (requested_by is None or person(word.by) != person(requested_by)):
            found.setdefault(person(word.by), word.by)
    return tuple(sorted(found.values()))


def check(words: Sequence[Word], people: int, requested_by: str | None) -> Check:
    """Return what the words amount to: a denial fails, too few approvals are a doubt."""
    names = approvers(words, requested_by)
    denials = [word for word in words if not word.approved]
    detail = f"{len(names)} of {people} people approved"
    if names:
        detail += f": {', '.join(names)}"
    outcome: Outcome = "passed" if len(names) >= people else "inconclusive"
    if denials:
        outcome = "failed"
        told = "; ".join(f"{word.by}: {word.note or 'no reason given'}" for word in denials)
        detail = f"denied by {told}. {detail}"
    elif outcome == "inconclusive":
        detail += " in time; evaluate again to propose it again"
    numbers = {"approved": len(names), "denied": len(denials), "needed": people}
    return Check(name="approval", outcome=outcome, detail=detail, numbers=numbers)
