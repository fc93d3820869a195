"""Doubts of the judge as questions for people: what is shown, and when; pure."""

from __future__ import annotations

import unicodedata

from imece.events import JudgementCompleted, JudgementRequested, ReviewRequested
from imece.events.base import BIDI_CONTROLS

MOST = 20_000
"""Characters of each text that people are shown; three of them fit one event."""


def needs_people(verdict: JudgementCompleted) -> bool:
    """Tell whether people have to look; a weak judge's verdicts decide nothing, so never for it."""
    return not verdict.weak and bool({"uncertain", "suspected_injection"} & set(verdict.flags))


def review(id: str, request: JudgementRequested) -> ReviewRequested:
    """Return the question for people about a judgement; no verdict and no model is named."""
    if request.mode == "pointwise":
        prompt = f"{request.prompt}\n\n{request.answer_a}"
        return ReviewRequested(
            item=f"judgement/{id}",
            origin="judgement",
            prompt=visible(prompt),
            options=("good enough", "not good enough"),
            uncertain=True,
            slice=request.slice,
        )
    return ReviewRequested(
        item=f"judgement/{id}",
        origin="judgement",
        prompt=visible(request.prompt),
        options=(visible(request.answer_a), visible(request.answer_b), "tie"),
        uncertain=True,
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
