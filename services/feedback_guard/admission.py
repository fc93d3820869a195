"""Who may say something at all: tokens, one vote for each answer seen, rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from imece import tokens
from imece.events import Envelope, FeedbackSubmitted
from services.feedback_guard.budgets import EMPTY, Bucket
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import account_id

_HOUR = 3600.0


class Admission(NamedTuple):
    """Whether feedback is let in (`hard` is the reason code why not), and what its vote counts."""

    hard: str | None = None
    weight: float = 1.0


def admit(
    event: Envelope[FeedbackSubmitted], keys: Mapping[str, bytes], policy: Policy
) -> Admission:
    """Check the token. Without keys nothing can be proven, so every vote counts less."""
    rules, feedback = policy.admission, event.data
    if feedback.token is not None and keys:
        problem = tokens.check(feedback.token, keys, feedback.response, feedback.user, event.time)
        return Admission(problem, 0.0 if problem else 1.0)
    if rules.tokens == "required":
        return Admission("bad_token", 0.0)
    return Admission(None, rules.unproven_weight)


def rates(feedback: FeedbackSubmitted, policy: Policy) -> dict[str, float]:
    """Return the buckets that one event fills, with their size in events an hour."""
    rules, tenant = policy.admission, feedback.tenant
    found = {
        f"rate|user|{account_id(tenant, feedback.user)}": rules.user_per_hour,
        f"rate|tenant|{tenant}": rules.tenant_per_hour,
    }
    if feedback.device:
        found[f"rate|device|{account_id(tenant, feedback.device)}"] = rules.device_per_hour
    return found


def too_fast(now: float, limits: Mapping[str, float], ledger: dict[str, Bucket]) -> bool:
    """Tell whether a bucket is full; if none is, put one event in (changes `ledger`)."""
    filled = {key: ledger.get(key, EMPTY).add(1, now, _HOUR) for key in limits}
    if any(filled[key].level > limit for key, limit in limits.items()):
        return True
    ledger.update(filled)
    return False
