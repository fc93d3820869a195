"""Known answers: a judge that gets one of these wrong is not to be believed in that batch."""

from __future__ import annotations

import random

from imece.events import JudgementRequested
from services.llm_judge.core import Preference

_KNOWN = (
    ("What is the capital of France?", "Paris.", "The capital of France is Berlin."),
    ("What is 17 + 25?", "17 + 25 = 42.", "17 + 25 = 52."),
    ("Türkiye'nin başkenti neresidir?", "Ankara.", "Türkiye'nin başkenti Bursa'dır."),
    ("How many days has a week?", "A week has seven days.", "A week has nine days."),
    ("Which planet is closest to the Sun?", "Mercury.", "Saturn is the closest one."),
    ("Bir düzinede kaç tane vardır?", "On iki.", "Bir düzinede yirmi tane vardır."),
    ("Translate 'water' into German.", "Wasser", "Feuer"),
    ("What is the opposite of 'hot'?", "Cold.", "The opposite of hot is wooden."),
)


def draw(count: int, chance: random.Random) -> list[tuple[JudgementRequested, Preference]]:
    """Return `count` questions with their known verdicts; the right answer is a and b in turn."""
    found: list[tuple[JudgementRequested, Preference]] = []
    for number, (question, right, wrong) in enumerate(
        chance.sample(_KNOWN, min(count, len(_KNOWN)))
    ):
        a_is_right = number % 2 == 0
        first, second = (right, wrong) if a_is_right else (wrong, right)
        request = JudgementRequested(
            item=f"probe-{number}",
            evaluation="probes",
            prompt=question,
            answer_a=first,
            answer_b=second,
        )
        found.append((request, "a" if a_is_right else "b"))
    return found


def failed(told: list[tuple[Preference, Preference]]) -> bool:
    """Tell whether any (verdict, known) pair differs; a missing verdict is no wrong one."""
    return any(verdict not in ("unscored", known) for verdict, known in told)
