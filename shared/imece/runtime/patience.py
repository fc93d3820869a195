"""When to ask an endpoint again, and how to show what it said: pure."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0


def shown(text: str) -> str:
    """Return the start of a reply, printable in one line."""
    return "".join(c if c.isprintable() else " " for c in text[:120])


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for (delta or HTTP date), None if none."""
    if not value:
        return None
    if re.fullmatch(r"\s*\d{1,9}(?:\.\d{1,9})?\s*", value, re.ASCII):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return max(0.0, (moment - now).total_seconds())


def wait_before(attempt: int, asked: float | None, chance: float) -> float:
    """Return how long to wait before try `attempt` + 1; `chance` in [0, 1) spreads callers."""
    backoff = float(min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30)))
    return backoff * (0.75 + chance / 4) if asked is None else max(asked, 0.05)
