"""The demo's crowd: honest users who react to what they saw, and a campaign that teaches lies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from imece.events import Correction, FeedbackSubmitted, Rating, Thumb, derived_id
from tests.demo.facts import Item

Kind = Literal["honest", "true-correction", "campaign", "farming"]
HONEST_USERS = 90
CAMPAIGN_ACCOUNTS = 48
FARMERS = 16
_MISTAKEN = 0.1


@dataclass(frozen=True)
class Sent:
    """One feedback event and who is behind it; only the report sees `kind`."""

    kind: Kind
    feedback: FeedbackSubmitted


def crowd(
    questions: Sequence[Item],
    answers: Mapping[str, str],
    lies: Sequence[Item],
    seed: int = 0,
) -> list[Sent]:
    """Return all feedback in the order in which it is sent."""
    dice = random.Random(seed)
    honest = _honest(questions, answers, dice)
    farming = _farming(questions, answers, dice)
    campaign = _campaign(lies, answers, dice)
    mixed = honest + campaign
    dice.shuffle(mixed)
    return farming + mixed


class Opinions:
    """What users answer when they are asked whether an answer is right."""

    def __init__(self, questions: Sequence[Item], lies: Sequence[Item]) -> None:
        self._questions = {item.prompt: item for item in questions}
        self._lies = {item.prompt: item for item in lies}

    def of(self, user: str, prompt: str, answer: str) -> bool:
        """The campaign stands by its lies; everybody else knows the answer, nine times in ten."""
        lie = self._lies.get(prompt)
        if lie is not None:
            right = not lie.is_right(answer)
            if user.startswith("fan-"):
                return not right
        else:
            right = self._questions[prompt].is_right(answer)
        return right != (random.Random(f"{user}|{prompt}").random() < _MISTAKEN)


def _honest(
    questions: Sequence[Item], answers: Mapping[str, str], dice: random.Random
) -> list[Sent]:
    sent = []
    for number, question in enumerate(questions):
        answer = answers.get(question.prompt, "")
        if not answer.strip():
            continue
        right = question.is_right(answer)
        for place in range(1 if right else 2):
            user = f"user-{(number * 7 + place * 11) % HONEST_USERS:02d}"
            sent.append(_reaction(user, question, answer, right, place, dice))
    return sent


def _reaction(
    user: str, question: Item, answer: str, right: bool, place: int, dice: random.Random
) -> Sent:
    created = _days_ago(dice.randint(40, 900) if dice.random() < 0.9 else dice.randint(1, 10))
    signal: Thumb | Rating | Correction
    kind: Kind = "honest"
    if right:
        signal = Thumb(up=True) if dice.random() < 0.6 else Rating(stars=dice.choice((4, 5)))
    elif place == 0:
        signal, kind = Correction(text=question.response), "true-correction"
    else:
        signal = Thumb(up=False)
    return Sent(kind, _feedback(user, question.prompt, answer, signal, created))


def _farming(
    questions: Sequence[Item], answers: Mapping[str, str], dice: random.Random
) -> list[Sent]:
    """Campaign accounts first vote like everybody, to look trustworthy."""
    good = [q for q in questions if q.is_right(answers.get(q.prompt, ""))]
    sent = []
    for account in range(FARMERS):
        for question in dice.sample(good, min(2, len(good))):
            event = _feedback(
                f"fan-{account:02d}",
                question.prompt,
                answers[question.prompt],
                Thumb(up=True),
                _days_ago(30),
            )
            sent.append(Sent("farming", event))
    return sent


def _campaign(lies: Sequence[Item], answers: Mapping[str, str], dice: random.Random) -> list[Sent]:
    sent = []
    for number, lie in enumerate(lies):
        for turn in range(2):
            account = f"fan-{(number * 2 + turn) % CAMPAIGN_ACCOUNTS:02d}"
            shown = answers.get(lie.prompt, "").strip() or "I am not sure."
            event = _feedback(
                account,
                lie.prompt,
                shown,
                Correction(text=lie.response),
                _days_ago(30 if int(account[-2:]) < FARMERS else dice.randint(0, 3)),
            )
            sent.append(Sent("campaign", event))
    return sent


def _feedback(
    user: str,
    prompt: str,
    answer: str,
    signal: Thumb | Rating | Correction,
    created: datetime,
) -> FeedbackSubmitted:
    return FeedbackSubmitted(
        user=user,
        response=derived_id("answer", user, prompt),
        prompt=prompt,
        answer=answer,
        signal=signal,
        model="base",
        account_created=created,
    )


def _days_ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
