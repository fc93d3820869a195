"""What a new policy would have decided: `python -m services.feedback_guard.whatif NEW < events`.

Reads events as JSON lines in order of time, writes a JSON array of the decisions that differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from imece import tokens
from imece.errors import ImeceError
from imece.events import (
    EVENTS,
    AnswerVerified,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    JudgementCompleted,
    OpinionGiven,
    ReviewAnswered,
    RevocationRequested,
)
from services.feedback_guard.content import NO_SCORES, ModelScores
from services.feedback_guard.policy import Policy, load
from services.feedback_guard.replay import Guard
from services.feedback_guard.settings import GuardSettings

_KINDS = {kind.topic.name: kind for kind in EVENTS}


def run(
    policy: Policy, events: Iterable[Envelope[Any]], keys: Mapping[str, bytes]
) -> dict[str, FeedbackDecided]:
    """Return the last decision about each feedback, by its id.

    What optional classifiers said is taken from the scored events: no model is asked again.
    """
    guard, last, events = Guard(policy, keys=keys), {}, list(events)
    scored = [event.data for event in events if isinstance(event.data, FeedbackScored)]
    said = {
        (s.feedback_source, s.feedback_id): ModelScores(s.injection, s.toxicity) for s in scored
    }
    for event in events:
        scores = said.get((event.source, event.id), NO_SCORES)
        for decided in [*_apply(guard, event, scores), *guard.changed]:
            last[decided.feedback] = decided
        guard.changed.clear()
    return last


def _apply(guard: Guard, event: Envelope[Any], scores: ModelScores) -> Sequence[FeedbackDecided]:
    data = event.data
    if isinstance(data, FeedbackSubmitted):
        return guard.submit([event], [scores])
    if isinstance(data, ReviewAnswered):
        return guard.answer(data)
    if isinstance(data, OpinionGiven):
        return guard.opinion_on(data, event.time)
    if isinstance(data, JudgementCompleted):
        return guard.compared(data)
    if isinstance(data, AnswerVerified):
        return guard.verified(data)
    return guard.revoke(data) if isinstance(data, RevocationRequested) else []


def differences(
    before: dict[str, FeedbackDecided], after: dict[str, FeedbackDecided]
) -> list[dict[str, Any]]:
    """Return what is decided otherwise, with the reasons of the new decision."""
    return [
        {
            "feedback": id,
            "user": new.user,
            "before": before[id].verdict,
            "after": new.verdict,
            "score": round(new.score, 2),
            "reasons": ", ".join(f"{r.code} {r.nats:+.1f}" for r in new.reasons),
        }
        for id, new in after.items()
        if before[id].verdict != new.verdict
    ]


def parse(line: str) -> Envelope[Any]:
    """Return the event of one JSON line."""
    body = json.loads(line)
    data = _KINDS[body["type"]].model_validate(body["data"])
    return Envelope(data, body["id"], body["source"], datetime.fromisoformat(body["time"]))


def main(arguments: Sequence[str], lines: Iterable[str]) -> str:
    """Compare the policy in use with the one that is named; returns JSON."""
    events = [parse(line) for line in lines if line.strip()]
    own = GuardSettings()
    keys = tokens.parse_keys(own.token_keys.get_secret_value())
    before = run(load(own.policy), events, keys)
    after = run(load(Path(arguments[0])), events, keys)
    return json.dumps(differences(before, after), ensure_ascii=False)


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:], sys.stdin))
    except ImeceError as error:
        sys.exit(str(error))
