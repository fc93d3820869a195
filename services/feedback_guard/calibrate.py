"""What the topics say of honest feedback: `python -m services.feedback_guard.calibrate RATE BASIS`.

Reads events as JSON lines, writes a JSON array: the bound of false rejections for each segment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from imece.errors import ConfigError, ImeceError
from imece.events import Envelope, FeedbackDecided, FeedbackScored, ReviewAnswered
from services.feedback_guard import audit, segments, store
from services.feedback_guard.policy import Policy, load
from services.feedback_guard.segments import Honest
from services.feedback_guard.settings import GuardSettings
from services.feedback_guard.whatif import parse

BASES = ("audited", "confirmed")


@dataclass
class _Seen:
    """What the events say about one feedback."""

    scored: FeedbackScored | None = None
    decided: dict[int, FeedbackDecided] = field(default_factory=dict)
    right: bool | None = None
    """People's first word on the answer that it is for, or against."""

    def honest(self, policy: Policy, *, by_people: bool) -> Honest | None:
        """Return it if people, or else anybody independent, found it right."""
        if self.scored is None or self.scored.hard is not None or not self.decided:
            return None
        first, last = (self.decided[pick(self.decided)] for pick in (min, max))
        people = self.right is not None and self.right == (self.scored.stance > 0)
        proven = any(r.code.startswith("confirmed_by_") for r in last.reasons)
        if not people and (by_people or not proven):
            return None
        names = segments.of(self.scored, policy)
        return Honest(names, segments.suspicion(first), last.verdict == "reject")


def honest(events: Iterable[Envelope[Any]], basis: str, policy: Policy) -> list[Honest]:
    """Return the feedback in these events that was found right.

    `audited` is of those that were drawn at random, so its rates are those of all feedback.
    `confirmed` is all that people, records or verifiers found right: more, but whoever nobody
    looked at is not in it, which is where mistakes hide.
    """
    audited = basis == "audited"
    seen = _seen(events)
    found = [
        each.honest(policy, by_people=audited)
        for key, each in seen.items()
        if not audited or audit.in_sample(key, policy)
    ]
    return [each for each in found if each is not None]


def _seen(events: Iterable[Envelope[Any]]) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    for event in events:
        data = event.data
        if isinstance(data, FeedbackScored):
            seen.setdefault(store.key_of(data), _Seen()).scored = data
        elif isinstance(data, FeedbackDecided):
            key = store.feedback_key(data.feedback_source, data.feedback)
            seen.setdefault(key, _Seen()).decided[data.version] = data
        elif isinstance(data, ReviewAnswered) and data.choice is not None:
            each = seen.setdefault(data.item.removeprefix("feedback:"), _Seen())
            each.right = data.choice == 0 if each.right is None else each.right
    return seen


def main(arguments: Sequence[str], lines: Iterable[str]) -> str:
    """Return the bounds of all segments as JSON."""
    rate, basis = float(arguments[0]), arguments[1]
    if not 0 < rate < 1 or basis not in BASES:
        raise ConfigError(
            f"rate {rate}, basis {basis}: a rate between 0 and 1, {' or '.join(BASES)}"
        )
    events = [parse(line) for line in lines if line.strip()]
    policy = load(GuardSettings().policy)
    return json.dumps(segments.table(honest(events, basis, policy), rate), ensure_ascii=False)


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:], sys.stdin))
    except ImeceError as error:
        sys.exit(str(error))
