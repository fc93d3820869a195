"""The circuit breaker: after repeated breaches of a model's second gate nothing of it is promoted.

All pure. Versions of a model count as one. A breach is a decision; people clear breaches by naming
the decisions they looked at, so no clock says what is cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from imece.events import Check, PromotionDecided
from services.evaluator.policy import BreakerPolicy, Outcome

SECOND = ("claim-probes", "trigger-probes")
_DAY = 86_400
_SHOWN = 8


class Breach(BaseModel):
    """A decision that counts against its model; `at` is UTC epoch seconds."""

    model_config = ConfigDict(frozen=True)

    evaluation: str
    why: str
    at: float
    cleared_by: str = ""


def why(decision: PromotionDecided) -> str:
    """Return why a decision is a breach; empty when it is none."""
    names = {c.name.partition(":")[0] for c in decision.checks if c.outcome == "failed"}
    found = sorted(names.intersection(SECOND)) if decision.verdict == "reject" else []
    if decision.rolled_back:
        found.append("rollback")
    return ", ".join(found)


def since(now: float, policy: BreakerPolicy) -> float:
    """Return when the window begins that ends at `now`, in UTC epoch seconds."""
    return now - policy.days * _DAY


def counted(breaches: Sequence[Breach], now: float, policy: BreakerPolicy) -> list[Breach]:
    """Return the breaches within the window that nobody cleared, in a fixed order."""
    start = since(now, policy)
    found = [each for each in breaches if start <= each.at <= now and not each.cleared_by]
    return sorted(found, key=lambda each: (each.at, each.evaluation))


def check(
    model: str, breaches: Sequence[Breach], now: float, policy: BreakerPolicy
) -> Check | None:
    """Return what the breaches amount to; none where there is no breach."""
    found = counted(breaches, now, policy)
    if not found:
        return None
    is_open = len(found) >= policy.breaches
    detail = (
        f"{len(found)} decisions about {model} within {policy.days:g} days broke the second gate"
        f" or rolled back (promotions stop at {policy.breaches}): "
        + "; ".join(f"{each.evaluation} {each.why} {_day(each.at)}" for each in found[-_SHOWN:])
    )
    if is_open:
        detail += f". Look at them, then `imece gate clear {model} --by NAME` and evaluate again"
    outcome: Outcome = "inconclusive" if is_open else "passed"
    numbers: dict[str, float] = {"breaches": len(found), "limit": policy.breaches}
    return Check(name="breaker", outcome=outcome, detail=detail, numbers=numbers)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
