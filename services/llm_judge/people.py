"""What people may be asked about judgements, and what the judge expects of them; pure."""

from __future__ import annotations

import unicodedata
from typing import Any

from imece.events import JudgementCompleted, JudgementRequested, ReviewRequested
from imece.events.base import BIDI_CONTROLS
from imece.events.judgements import SUSPECTED_INJECTION, UNCERTAIN

MOST = 20_000
"""Characters of each text that people are shown; three of them fit one event."""
LEVELS = ("1", "2", "3", "4", "5")
"""What people rate a criterion with, as judges do: 1 fails, 5 leaves nothing to improve."""


def doubtful(verdict: JudgementCompleted) -> bool:
    """Tell whether the judge itself could not settle it."""
    return bool({UNCERTAIN, SUSPECTED_INJECTION} & set(verdict.flags))


def questions(
    id: str, request: JudgementRequested, verdict: JudgementCompleted
) -> list[ReviewRequested]:
    """Return what the queue draws from: it asks every doubt, and a few of the rest.

    That it hears of all verdicts, with what the judge expects, lets few answers speak for all. A
    weak judge's verdicts decide nothing, and a void one tells nothing, so nobody is asked.
    """
    doubt = doubtful(verdict)
    silent = verdict.weak or (verdict.verdict == "unscored" and not doubt)
    if silent or not request.people:
        return []
    asked = ReviewRequested(
        item=f"judgement/{id}",
        origin="judgement",
        **_shown_pair(request),
        criticality="high" if doubt else "low",
        uncertain=doubt,
        slice=request.slice,
        predicted=_first_is_right(verdict),
    )
    return [asked, *_ratings(id, request, verdict)]


def _shown_pair(request: JudgementRequested) -> dict[str, Any]:
    if request.mode == "pointwise":
        prompt = f"{request.prompt}\n\n{request.answer_a}"
        return {"prompt": visible(prompt), "options": ("good enough", "not good enough")}
    options = visible(request.answer_a), visible(request.answer_b), "tie"
    return {"prompt": visible(request.prompt), "options": options}


def _ratings(
    id: str, request: JudgementRequested, verdict: JudgementCompleted
) -> list[ReviewRequested]:
    """Return one question a criterion that was named and scored; they are drawn one by one."""
    if not request.criteria or not verdict.scores:
        return []
    return [
        ReviewRequested(
            item=f"judgement/{id}/{number}",
            origin="judgement",
            prompt=visible(request.prompt),
            options=LEVELS,
            criticality="low",
            slice=request.slice,
            answer=visible(request.answer_a),
            criterion=name,
            predicted=(score - 1) / (len(LEVELS) - 1),
        )
        for number, (name, score) in enumerate(
            zip(request.criteria, verdict.scores, strict=True), 1
        )
    ]


def _first_is_right(verdict: JudgementCompleted) -> float | None:
    """Return the chance, as the judge sees it, that people choose the first option."""
    if verdict.verdict == "unscored":
        return None
    if verdict.mode == "pointwise":
        sure = verdict.confidence if verdict.confidence is not None else 1.0
        return sure if verdict.verdict == "a" else 1 - sure
    votes = [vote for vote in (verdict.first_order, verdict.second_order) if vote != "unscored"]
    return votes.count("a") / len(votes) if votes else float(verdict.verdict == "a")


def visible(text: str) -> str:
    """Return `text` with what hides in it written out, and cut to what an event holds."""
    shown = "".join(_shown(char) for char in text[:MOST])[:MOST]
    return shown if shown.strip() else "(empty)"


def _shown(char: str) -> str:
    if char in "\n\t":
        return char
    hidden = char in BIDI_CONTROLS or unicodedata.category(char) in ("Cc", "Cs", "Cf")
    return f"[U+{ord(char):04X}]" if hidden and char not in "\u200c\u200d" else char
