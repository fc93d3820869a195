"""Accounts that contradict in lockstep become a cluster, which has one budget together.

Only votes that contradict an answer are looked at, and popular claims count less. A cluster only
lowers what its accounts may send; nobody is rejected for agreeing with somebody.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imece.events import CampaignFlagged, FeedbackScored
from services.feedback_guard.budgets import Bucket
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import account_id

_DAY = 86_400
_MOST_PAIRS = 12


def keys(user: str, others: Iterable[str]) -> set[str]:
    """Return the ledger keys that `meet` may read when a user meets some of these voters."""
    voters = {user, *others}
    return {_pair(user, other) for other in voters if other != user} | set(map(_own, voters))


def meet(
    user: str, others: Iterable[str], now: float, policy: Policy, ledger: dict[str, Bucket]
) -> list[str]:
    """Book one contradiction that a user shares with `others`; return who acts in lockstep.

    A vote weighs 1/log2(2 + earlier votes). A pair is in lockstep when it shares enough weight,
    and most of what the less active of the two contradicts at all. Changes `ledger`.
    """
    met = [other for other in others if other != user][-_MOST_PAIRS:]
    window, weight = policy.campaign.window_days * _DAY, 1 / math.log2(2 + len(met))
    own = _add(ledger, _own(user), weight, now, window)
    found = []
    for other in met:
        together = _add(ledger, _pair(user, other), weight, now, window)
        theirs = ledger.get(_own(other), Bucket()).level_at(now, window)
        enough = together >= policy.campaign.shared
        if enough and together >= policy.campaign.share * min(own, theirs):
            found.append(other)
    return found


@dataclass(frozen=True)
class Member:
    """Which cluster an account is in, and when it was first and last seen in lockstep."""

    cluster: str
    since: float
    at: float
    """To the day: then not every vote has to be written."""


def join(
    user: str, others: Iterable[str], clusters: Mapping[str, Member], now: float
) -> dict[str, Member]:
    """Return the clusters after these accounts became one; the smallest name stands for it."""
    seen = {user, *others}
    names = {clusters[who].cluster if who in clusters else who for who in seen}
    found = {who: member for who, member in clusters.items() if member.cluster in names}
    found |= {who: Member("", now, now) for who in seen if who not in found}
    for who, member in found.items():
        at = now if who in seen and now > member.at + _DAY else member.at
        if (member.cluster, member.at) != (min(names), at):
            found[who] = Member(min(names), member.since, at)
    return {**clusters, **found}


def flag(
    item: FeedbackScored,
    friends: Sequence[str],
    before: Mapping[str, Member],
    after: Mapping[str, Member],
    *,
    policy: Policy,
    ledger: Mapping[str, Bucket],
) -> CampaignFlagged | None:
    """Return what to announce when this vote made a cluster, or doubled one; else None.

    `before` and `after` are the clusters around `join` with these `friends`.
    """
    user, now = account_id(item.feedback.tenant, item.feedback.user), item.submitted.timestamp()
    name = after[user].cluster
    gang = {who: member for who, member in after.items() if member.cluster == name}
    parts = Counter(before[who].cluster for who in gang if who in before)
    largest = max(parts.values(), default=1)
    if len(gang).bit_length() == largest.bit_length():
        return None
    shared = max(ledger[_pair(user, other)].level for other in friends)
    rows = ledger.get(f"cluster|{name}", Bucket()).level_at(now, policy.budgets.window_days * _DAY)
    return CampaignFlagged(
        tenant=item.feedback.tenant,
        cluster=name,
        accounts=len(gang),
        before=largest,
        first_seen=datetime.fromtimestamp(min(member.since for member in gang.values()), UTC),
        last_seen=item.submitted,
        shared=shared,
        rows=rows,
    )


def _add(ledger: dict[str, Bucket], key: str, amount: float, now: float, window: float) -> float:
    ledger[key] = ledger.get(key, Bucket()).add(amount, now, window)
    return ledger[key].level


def _own(user: str) -> str:
    return f"against|{user}"


def _pair(one: str, other: str) -> str:
    return "pair|" + "|".join(sorted((one, other)))
