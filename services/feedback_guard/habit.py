"""Whether an account still behaves like its owner: each vote against the account's own habits."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from imece.events import Correction, Envelope, FeedbackSubmitted
from services.feedback_guard.evidence import taught
from services.feedback_guard.state import Habit

_SLOW, _FAST = 0.06, 0.3
_FLOOR = (0.5, 0.3, 0.3, 0.1, 0.05, 0.1)
"""Variance that nobody is below: length, hour, hour, contradiction, device, comment."""
_LEARN = 20  # votes before anything is said
_ODD, _ALARM = 1.4, 2.0
"""Mean squared deviations, smoothed, from which the change is dated and at which it is told."""
_MOST = 4.0  # what one odd vote may count


def observe(habit: Habit, event: Envelope[FeedbackSubmitted]) -> tuple[Habit, float | None]:
    """Learn one vote; also return since when the account seems taken over, once it does.

    While votes are odd the slow means stand still, so that a newcomer cannot teach the habit.
    """
    seen, now = _features(event), event.time.timestamp()
    if habit.votes < _LEARN:
        return _learn(habit, seen, habit.odd, habit.since), None
    deviations = (
        (x - mean) ** 2 / (variance + floor)
        for x, mean, variance, floor in zip(seen, habit.means, habit.variances, _FLOOR, strict=True)
    )
    surprise = min(_MOST, sum(deviations) / len(_FLOOR))
    odd = (1 - _FAST) * habit.odd + _FAST * surprise
    if odd < _ODD:
        return _learn(habit, seen, odd, 0.0), None
    since = habit.since or now
    if odd < _ALARM:
        return habit._replace(odd=odd, since=since), None
    return Habit(), since


def _learn(habit: Habit, seen: Sequence[float], odd: float, since: float) -> Habit:
    rate = max(_SLOW, 1 / (habit.votes + 1))
    pairs = list(zip(seen, habit.means, habit.variances, strict=True))
    means = [mean + rate * (x - mean) for x, mean, _ in pairs]
    variances = [(1 - rate) * (variance + rate * (x - mean) ** 2) for x, mean, variance in pairs]
    return Habit(min(999, habit.votes + 1), tuple(means), tuple(variances), odd, since)


def _features(event: Envelope[FeedbackSubmitted]) -> tuple[float, ...]:
    feedback = event.data
    hour = (event.time.timestamp() % 86_400) / 86_400 * 2 * math.pi
    text = taught(feedback) if isinstance(feedback.signal, Correction) else feedback.comment
    device = zlib.crc32((feedback.device or "").encode()) / 2**32
    return (
        math.log1p(len(text)),
        math.cos(hour),
        math.sin(hour),
        float(isinstance(feedback.signal, Correction)),
        device,
        float(bool(feedback.comment)),
    )
