"""Whom to ask for a second opinion: users chosen at random, whom nobody can foresee."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from imece import tokens
from imece.events import Envelope, FeedbackScored, FeedbackSubmitted, OpinionRequested
from imece.events.judgements import Invitation
from services.feedback_guard.evidence import taught
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import account_id

_SEATS = 512


def seat(event: Envelope[FeedbackSubmitted], policy: Policy) -> dict[str, object] | None:
    """Return the seat that an active user takes; the last one to come keeps it.

    Young accounts get none: who makes a thousand of them today must not be asked tomorrow.
    """
    feedback = event.data
    created, days = feedback.account_created, policy.budgets.young_days
    if created is not None and event.time - created < timedelta(days=days):
        return None
    number = zlib.crc32(feedback.user.encode()) % _SEATS
    return {
        "seat": f"{feedback.tenant}|{number}",
        "tenant": feedback.tenant,
        "user": feedback.user,
    }


def request(
    item: str,
    scored: FeedbackScored,
    users: Iterable[str],
    keys: Mapping[str, bytes],
    policy: Policy,
    *,
    voters: Collection[str] = (),
) -> OpinionRequested | None:
    """Return the question for randomly chosen users, none of whom voted; None without enough.

    `voters` are the accounts that voted on the claim: they have been heard.

    The choice is a hash under the first token key, so that it can be repeated but not foreseen.
    """
    secret = next(iter(keys.values()), b"")
    tenant = scored.feedback.tenant
    heard = {*voters, account_id(tenant, scored.feedback.user)}
    others = {user for user in users if account_id(tenant, user) not in heard}
    chosen = sorted(others, key=lambda user: _draw(secret, item, user))
    chosen = chosen[: policy.thresholds.sampled_people]
    if len(chosen) < policy.thresholds.sampled_people:
        return None
    expires = scored.submitted + timedelta(days=policy.thresholds.quarantine_days)
    invited = tuple(
        Invitation(user=user, token=tokens.mint(keys, item, user, expires) if keys else None)
        for user in chosen
    )
    return OpinionRequested(
        item=item,
        prompt=scored.feedback.prompt,
        answer=taught(scored.feedback),
        invited=invited,
        tenant=tenant,
    )


def _draw(secret: bytes, item: str, user: str) -> bytes:
    text = f"{item}\x1f{user}".encode()
    return hashlib.blake2b(text, key=secret[:64], digest_size=8).digest()
