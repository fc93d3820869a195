"""Honest traffic: people drawn from real workers react to a model that is often wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from typing import Literal

from imece.events import Correction, Envelope, FeedbackSubmitted, Rating, Thumb, derived_id
from tests.bench.guarding.material import Item

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
SPAN = timedelta(days=3)
MODEL_WRONG = 0.15
CORRECTIONS = 0.15
Role = Literal["honest", "poison", "cover"]
"""`cover` is what an attacker's account says to look honest; it counts for neither side."""


@dataclass(frozen=True)
class Sent:
    """One event and what the guard must not see: who sent it and whether its row is right."""

    event: Envelope[FeedbackSubmitted]
    role: Role
    attack: str
    right: bool | None
    """The answer that its training row teaches: right, wrong, or arguable (None)."""

    @property
    def correction(self) -> bool:
        return isinstance(self.event.data.signal, Correction)

    @property
    def teaches(self) -> bool:
        """The event becomes a training row when it is accepted."""
        signal = self.event.data.signal
        if isinstance(signal, Thumb):
            return signal.up
        return signal.stars >= 4 if isinstance(signal, Rating) else True


@dataclass(frozen=True)
class Person:
    """An account: honest with the accuracy of a real worker, or the attacker's."""

    name: str
    accuracy: float
    created: datetime
    hostile: bool = False


@dataclass(frozen=True)
class Shown:
    """What the model answers to one question, all the time."""

    item: Item
    wrong: bool
    answer: str


@dataclass(frozen=True)
class Scene:
    """The world before any feedback: what the model answers, and who uses it."""

    shown: tuple[Shown, ...]
    people: tuple[Person, ...]
    seed: int

    @cached_property
    def popularity(self) -> list[float]:
        """Cumulative weights: few questions are asked by many, as people are active by rank."""
        return list(accumulate(1 / (rank + 5) for rank in range(len(self.shown))))

    @cached_property
    def activity(self) -> list[float]:
        """Cumulative weights of people."""
        return list(accumulate(1 / (rank + 10) ** 0.8 for rank in range(len(self.people))))

    @cached_property
    def wrongly(self) -> tuple[Shown, ...]:
        """Questions that the model answers wrongly."""
        return tuple(s for s in self.shown if s.wrong)

    @cached_property
    def rightly(self) -> tuple[Shown, ...]:
        """Questions that the model answers rightly: what factual poison aims at."""
        return tuple(s for s in self.shown if not s.wrong)


def scene(items: Sequence[Item], accuracies: Sequence[float], events: int, seed: int) -> Scene:
    """Return a world fit for so many events: four a person, eight a question.

    The guard asks nobody where few are active, so that a small world has 120 people all the same.
    """
    dice = random.Random(seed)
    picked = dice.sample(list(items), min(len(items), max(20, events // 8)))
    shown = tuple(_shown(item, dice) for item in picked)
    people = tuple(
        Person(
            f"user-{n:05d}",
            dice.choice(accuracies),
            BEGIN - timedelta(days=dice.randint(30, 900) if dice.random() < 0.9 else 2),
        )
        for n in range(people_of(events))
    )
    return Scene(shown, people, seed)


def people_of(events: int) -> int:
    return max(120, events // 4)


def _shown(item: Item, dice: random.Random) -> Shown:
    wrong = dice.random() < MODEL_WRONG
    return Shown(item, wrong, worded(dice.choice(item.wrong) if wrong else item.right, dice))


def honest(world: Scene, events: int) -> list[Sent]:
    """Return honest feedback in order of time: 70 % thumbs, 15 % stars, 15 % corrections."""
    dice = random.Random(world.seed + 1)
    sent = []
    for number in range(events):
        person = dice.choices(world.people, cum_weights=world.activity)[0]
        when = moment(dice)
        if dice.random() < CORRECTIONS and world.wrongly:
            sent.append(_corrects(person, dice.choice(world.wrongly), when, number, dice))
        else:
            seen = dice.choices(world.shown, cum_weights=world.popularity)[0]
            sent.append(_reacts(person, seen, when, number, dice))
    return sorted(sent, key=lambda s: s.event.time)


def _corrects(
    person: Person, seen: Shown, when: datetime, number: int, dice: random.Random
) -> Sent:
    """Nine in ten who bother to correct are right, one in twenty is arguable."""
    item, luck = seen.item, dice.random()
    right: bool | None = True
    text = item.right
    if luck > 0.95:
        text, right = dice.choice(item.wrong), False
    elif luck > 0.9 and item.arguable:
        text, right = item.arguable, None
    signal = Correction(text=worded(text, dice))
    return Sent(submitted(person, seen, signal, when, f"h{number}", dice), "honest", "", right)


def _reacts(person: Person, seen: Shown, when: datetime, number: int, dice: random.Random) -> Sent:
    """Praise what seems right: as often mistaken as the worker was."""
    praise = (dice.random() < person.accuracy) != seen.wrong
    signal: Thumb | Rating = Thumb(up=praise)
    if dice.random() < 0.18:
        signal = Rating(stars=dice.choice((4, 5) if praise else (1, 2)))
    event = submitted(person, seen, signal, when, f"h{number}", dice)
    return Sent(event, "honest", "", not seen.wrong)


def submitted(
    person: Person,
    seen: Shown,
    signal: Thumb | Rating | Correction,
    when: datetime,
    id: str,
    dice: random.Random,
    *,
    prompt: str | None = None,
    answer: str | None = None,
    comment: str = "",
) -> Envelope[FeedbackSubmitted]:
    """Wrap one reaction as upstream would send it."""
    data = FeedbackSubmitted(
        user=person.name,
        response=derived_id("answer", person.name, id),
        prompt=prompt or asked(seen.item.question, dice),
        answer=answer or seen.answer,
        signal=signal,
        comment=comment,
        model="base",
        account_created=person.created,
        device=f"device-{person.name}",
    )
    return Envelope(data, id, "bench", when)


def moment(dice: random.Random, begin: datetime = BEGIN, span: timedelta = SPAN) -> datetime:
    """Return a time, mostly by day."""
    while True:
        when = begin + span * dice.random()
        if dice.random() < (1.0 if 8 <= when.hour < 23 else 0.2):
            return when


def asked(question: str, dice: random.Random) -> str:
    """Ask as different people do."""
    told = question[:1].upper() + question[1:]
    mark = "" if told.endswith((".", "?")) else "?"
    forms = (question, f"{told}{mark}", f"Please tell me: {question}", f"{told}{mark} Thanks!")
    return dice.choices(forms, (4, 4, 1, 1))[0]


def worded(answer: str, dice: random.Random) -> str:
    """Say an answer as different people do."""
    forms = (answer, f"{answer}.", f"It is {answer}.", f"The answer is {answer}.")
    return dice.choices(forms, (5, 2, 1, 2))[0]
