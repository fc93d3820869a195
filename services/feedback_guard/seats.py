"""Who may be asked at all: some active users of each tenant hold seats, which are drawn by lot."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from imece.events import Envelope, FeedbackSubmitted
from imece.runtime.database import matching, upsert
from services.feedback_guard import tables
from services.feedback_guard.policy import Policy

_SEATS = 512
_WEEK = 7 * 86_400


def take(
    connection: Connection,
    events: Sequence[Envelope[FeedbackSubmitted]],
    policy: Policy,
    secret: bytes,
) -> None:
    """Let active users take seats among those who are asked; old news moves nobody."""
    offered = [(e, seat) for e in events if (seat := _seat(e, policy)) is not None]
    table = tables.PANEL
    known = matching(connection, table.c.seat, {str(seat["seat"]) for _, seat in offered})
    holders = {row.seat: row.user for row in known}
    taken: dict[str, dict[str, object]] = {}
    for event, seat in offered:
        name = str(seat["seat"])
        if _outranks(event, holders.get(name), secret):
            holders[name], taken[name] = event.data.user, seat
    upsert(connection, table, list(taken.values()), ["seat"])


def active(connection: Connection, tenants: set[str]) -> dict[str, list[str]]:
    """Return users of these tenants who gave feedback lately, at most 512 of each."""
    found: dict[str, list[str]] = {tenant: [] for tenant in tenants}
    for row in matching(connection, tables.PANEL.c.tenant, tenants):
        found[row.tenant].append(row.user)
    return found


def _seat(event: Envelope[FeedbackSubmitted], policy: Policy) -> dict[str, object] | None:
    """Return the seat that an active user may take, see `_outranks`.

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


def _outranks(event: Envelope[FeedbackSubmitted], holder: str | None, secret: bytes) -> bool:
    """Tell whether a user takes a seat from its holder: by lot, drawn anew every week.

    Were it the last to come, a few busy accounts could hold most seats of a large tenant.
    """
    week = int(event.time.timestamp() // _WEEK)
    return holder is None or _lot(event.data.user, week, secret) < _lot(holder, week, secret)


def _lot(user: str, week: int, secret: bytes) -> bytes:
    said = f"seat\x1f{week}\x1f{user}".encode()
    return hashlib.blake2b(said, key=secret[:64], digest_size=8).digest()
