"""Budgets on what is ever trained on: leaky buckets over event time, one ledger for all rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from imece.events import FeedbackScored
from services.feedback_guard import minhash
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import account_id, slot

_DAY = 86_400


class Bucket(NamedTuple):
    """How full a bucket was at a time (seconds since 1970); it leaks a constant share a second."""

    level: float = 0.0
    at: float = 0.0

    def level_at(self, now: float, window: float) -> float:
        """Return the level at `now`: after `window` seconds 37 % is left; time never runs back."""
        if not self.level:
            return 0.0  # most buckets of a new event
        return self.level * math.exp(min(0.0, self.at - now) / window)

    def add(self, amount: float, now: float, window: float) -> Bucket:
        """Return the bucket with `amount` more."""
        return Bucket(self.level_at(now, window) + amount, max(now, self.at))


Ledger = Mapping[str, Bucket]
EMPTY = Bucket()


class Charge(NamedTuple):
    """One bucket that a row fills: its key, its size, the reason code when it is full."""

    key: str
    limit: float
    code: str


def charges(
    scored: FeedbackScored, policy: Policy, cluster: str | None, alone: bool = False
) -> list[Charge]:
    """Return the buckets that one row of this feedback fills; `alone` is unconfirmed praise."""
    tenant, budgets = scored.feedback.tenant, policy.budgets
    author = account_id(tenant, scored.feedback.user)
    answer = f"claim|{scored.claim}|{slot(scored.answer)}"
    found = [
        Charge(f"author|{author}", budgets.per_author, "budget_author"),
        Charge(answer, budgets.per_claim_answer, "budget_claim"),
    ]
    if alone:
        found.append(Charge(_alone(author), budgets.per_unconfirmed, "budget_unconfirmed"))
    if cluster:
        found.append(Charge(f"cluster|{cluster}", budgets.per_cluster, "budget_cluster"))
    for band in minhash.bands(tenant, scored.signature):
        if alone:
            key = f"alone|delta|{band}"
            found.append(Charge(key, budgets.per_unconfirmed, "budget_delta"))
        found.append(Charge(f"delta|{band}", budgets.per_delta, "budget_delta"))
    for phrase in scored.phrases:
        found.append(Charge(f"phrase|{tenant}|{phrase}", budgets.per_phrase, "budget_phrase"))
    return found


def keys(scored: FeedbackScored, policy: Policy, cluster: str | None = None) -> list[str]:
    """Return the keys of all buckets that this feedback may fill."""
    tenant = scored.feedback.tenant
    charged = charges(scored, policy, cluster, alone=True)
    return [c.key for c in charged] + [_young(tenant), _all(tenant)]


def over(
    scored: FeedbackScored,
    policy: Policy,
    ledger: Ledger,
    cluster: str | None,
    alone: bool = False,
) -> str | None:
    """Return the reason code of the first bucket that one more row would overfill."""
    now, window = scored.submitted.timestamp(), policy.budgets.window_days * _DAY
    for charge in charges(scored, policy, cluster, alone):
        if ledger.get(charge.key, EMPTY).level_at(now, window) + 1 > charge.limit:
            return charge.code
    if is_young(scored, policy):
        tenant = scored.feedback.tenant
        young = ledger.get(_young(tenant), EMPTY).level_at(now, window)
        share = policy.budgets.young_share * ledger.get(_all(tenant), EMPTY).level_at(now, window)
        if young + 1 > max(policy.budgets.young_rows, share):
            return "budget_young"
    return None


def book(
    scored: FeedbackScored,
    policy: Policy,
    ledger: Ledger,
    cluster: str | None,
    alone: bool = False,
) -> dict[str, Bucket]:
    """Return the buckets as they are after one more row."""
    now, window = scored.submitted.timestamp(), policy.budgets.window_days * _DAY
    filled = [charge.key for charge in charges(scored, policy, cluster, alone)]
    filled.append(_all(scored.feedback.tenant))
    if is_young(scored, policy):
        filled.append(_young(scored.feedback.tenant))
    return {key: ledger.get(key, EMPTY).add(1, now, window) for key in filled}


def is_young(scored: FeedbackScored, policy: Policy) -> bool:
    """Tell whether the account is known to be too new to make up much of the data."""
    created = scored.feedback.account_created
    limit = timedelta(days=policy.budgets.young_days)
    return created is not None and scored.submitted - created < limit


def _alone(author: str) -> str:
    return f"alone|{author}"


def _young(tenant: str) -> str:
    return f"young|{tenant}"


def _all(tenant: str) -> str:
    return f"all|{tenant}"
