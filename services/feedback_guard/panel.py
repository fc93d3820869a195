"""Whom to ask for a second opinion: users chosen at random, whom nobody can foresee."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from imece import tokens
from imece.events import FeedbackScored, OpinionRequested
from imece.events.judgements import Invitation
from services.feedback_guard.evidence import taught
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Support, account_id


def missing(support: Support, lead: int, pending: int, policy: Policy, voice: float = 0.0) -> int:
    """Return how many more users to ask: as many open invitations as could decide at once.

    The reference model counts for `voice` users.
    """
    ahead = abs(len(support.sampled_for) - len(support.sampled_against) + voice)
    heard = len(support.sampled_for) + len(support.sampled_against)
    if ahead >= lead:
        return 0
    return max(0, min(math.ceil(lead - ahead), policy.panel.most - heard) - pending)


def draw(
    item: str,
    users: Sequence[str],
    count: int,
    *,
    tenant: str,
    heard: Collection[str],
    secret: bytes,
) -> list[str]:
    """Return up to `count` of these users at random, none of whose accounts was `heard`.

    The choice follows from the item and the first token key: it can be repeated, not foreseen.
    """
    seed = hashlib.blake2b(f"{item}\x1f{count}".encode(), key=secret[:64], digest_size=16)
    dice = random.Random(seed.digest())
    drawn = dice.sample(users, min(len(users), count + len(heard)))
    return [user for user in drawn if account_id(tenant, user) not in heard][:count]


def request(
    item: str,
    scored: FeedbackScored,
    users: Sequence[str],
    keys: Mapping[str, bytes],
    policy: Policy,
) -> OpinionRequested:
    """Return the question for these users, each with a token of their own."""
    expires = scored.submitted + timedelta(days=policy.thresholds.quarantine_days)
    invited = tuple(
        Invitation(user=user, token=tokens.mint(keys, item, user, expires) if keys else None)
        for user in users
    )
    return OpinionRequested(
        item=item,
        prompt=scored.feedback.prompt,
        answer=taught(scored.feedback),
        invited=invited,
        tenant=scored.feedback.tenant,
    )
