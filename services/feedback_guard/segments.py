"""Kinds of feedback, and how often honest feedback of each is rejected, bounded by a sample."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imece.events import FeedbackDecided, FeedbackScored, Thumb
from services.feedback_guard import bounds, budgets
from services.feedback_guard.policy import Policy

_LETTERS = 200  # of a question are enough to tell its script
_TURKISH = frozenset("ğışĞİŞ")
_EVIDENCE = ("confirmed_by_", "refuted_by_", "second_opinion", "blind_reference", "rival_confirmed")


@dataclass(frozen=True)
class Honest:
    """Feedback that somebody found right, and what the guard made of it."""

    segments: tuple[str, ...]
    suspicion: float
    """The score at first sight without what is known about the answer."""
    rejected: bool


def of(scored: FeedbackScored, policy: Policy) -> tuple[str, ...]:
    """Return the segments of feedback: tenant, kind, age of the account, language."""
    feedback, signal = scored.feedback, scored.feedback.signal
    kind: str = signal.kind
    if isinstance(signal, Thumb):
        kind = "thumb_up" if signal.up else "thumb_down"
    age = "young" if budgets.is_young(scored, policy) else "old"
    if feedback.account_created is None:
        age = "unknown"
    return (
        f"tenant:{feedback.tenant}",
        f"kind:{kind}",
        f"account:{age}",
        f"language:{language(feedback.prompt)}",
    )


def language(text: str) -> str:
    """Return `turkish` where letters tell, else the script of most letters, else `none`."""
    letters = [c for c in text[: 4 * _LETTERS] if c.isalpha()][:_LETTERS]
    if not letters:
        return "none"
    if not _TURKISH.isdisjoint(letters):
        return "turkish"
    scripts = Counter(unicodedata.name(c, "none").partition(" ")[0].lower() for c in letters)
    return scripts.most_common(1)[0][0]


def suspicion(decided: FeedbackDecided) -> float:
    """Return the nats of a decision that are not about whether the answer is right."""
    return sum(r.nats for r in decided.reasons if not r.code.startswith(_EVIDENCE))


def reject_at(scored: FeedbackScored, policy: Policy) -> float:
    """Return the score at which feedback is rejected: the highest of its segments' thresholds."""
    special = policy.thresholds.reject_for
    found = [special[name] for name in of(scored, policy) if name in special] if special else []
    return max(found, default=policy.thresholds.reject)


def table(honest: Sequence[Honest], rate: float, confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return for each segment the most that honest feedback is rejected, and the cut that keeps it.

    With `confidence` all bounds hold at once (Bonferroni), for feedback like that of the sample.
    `threshold` is the lowest score from which at most `rate` of the honest would be rejected,
    found by fixed-sequence testing (learn then test); None where the sample is too small for it.
    """
    groups: dict[str, list[Honest]] = {"all": list(honest)}
    for each in honest:
        for name in each.segments:
            groups.setdefault(name, []).append(each)
    each_sure = 1 - (1 - confidence) / len(groups)
    needed = math.ceil(math.log(1 - each_sure) / math.log1p(-rate))
    return [_row(name, group, rate, each_sure, needed) for name, group in sorted(groups.items())]


def worst(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the row with the highest bound among those whose sample can say anything."""
    enough = [row for row in rows if row["enough"]]
    return max(enough, key=lambda row: (row["upper"], row["segment"]), default=None)


def _row(
    name: str, group: Sequence[Honest], rate: float, sure: float, needed: int
) -> dict[str, Any]:
    rejected = sum(each.rejected for each in group)
    upper = bounds.upper(rejected, len(group), sure) if group else 1.0
    cut = bounds.threshold([each.suspicion for each in group], rate, sure)
    enough = len(group) >= needed
    note = "above the wanted rate" if upper > rate else ""
    return {
        "segment": name,
        "honest": len(group),
        "rejected": rejected,
        "upper": round(upper, 5),
        "threshold": None if math.isinf(cut) else round(cut, 4),
        "enough": enough,
        "note": note if enough else f"too few to say: {needed} are needed",
    }
