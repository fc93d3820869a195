"""Doubts of the judge as questions for people: what is shown, and when; pure."""

from __future__ import annotations

import hashlib
import unicodedata

from imece.events import JudgementCompleted, JudgementRequested, ReviewRequested
from imece.events.base import BIDI_CONTROLS

MOST = 20_000
"""Characters of each text that people are shown; three of them fit one event."""


AUDITS = 0.02
"""Share of sure verdicts that people see as well: only that shows a judge that errs surely."""


def needs_people(id: str, verdict: JudgementCompleted) -> bool:
    """Tell whether people have to look; a weak judge's verdicts decide nothing, so never for it.

    Audits are drawn by the hash of the judgement's id: the same again after a restart.
    """
    return not verdict.weak and (doubtful(verdict) or audited(id, verdict))


def doubtful(verdict: JudgementCompleted) -> bool:
    """Tell whether the judge itself could not settle it."""
    return bool({"uncertain", "suspected_injection"} & set(verdict.flags))


def audited(id: str, verdict: JudgementCompleted) -> bool:
    """Tell whether a verdict that stands is in the random sample."""
    drawn = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8]) / 2**64
    return verdict.verdict != "unscored" and drawn < AUDITS


def review(id: str, request: JudgementRequested, *, doubt: bool = True) -> ReviewRequested:
    """Return the question for people about a judgement; no verdict and no model is named."""
    if request.mode == "pointwise":
        prompt = f"{request.prompt}\n\n{request.answer_a}"
        return ReviewRequested(
            item=f"judgement/{id}",
            origin="judgement",
            prompt=visible(prompt),
            options=("good enough", "not good enough"),
            uncertain=doubt,
            slice=request.slice,
        )
    return ReviewRequested(
        item=f"judgement/{id}",
        origin="judgement",
        prompt=visible(request.prompt),
        options=(visible(request.answer_a), visible(request.answer_b), "tie"),
        uncertain=doubt,
        slice=request.slice,
    )


def visible(text: str) -> str:
    """Return `text` with what hides in it written out, and cut to what an event holds."""
    shown = "".join(_shown(char) for char in text[:MOST])[:MOST]
    return shown if shown.strip() else "(empty)"


def _shown(char: str) -> str:
    if char in "\n\t":
        return char
    hidden = char in BIDI_CONTROLS or unicodedata.category(char) in ("Cc", "Cs", "Cf")
    return f"[U+{ord(char):04X}]" if hidden and char not in "\u200c\u200d" else char
