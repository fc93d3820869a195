"""Attacks A1 to A15: what each campaign sends, and what an adaptive one does instead.

An adaptive attacker knows the code but neither keys, trusted records nor thresholds' margins.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from imece.events import Correction, Rating, Thumb
from tests.bench.guarding.stream import (
    BEGIN,
    SPAN,
    Person,
    Scene,
    Sent,
    Shown,
    moment,
    submitted,
    worded,
)


@dataclass
class Campaign:
    """One attack in one world; counts its own events."""

    world: Scene
    name: str
    accounts: int
    events: int
    adaptive: bool
    dice: random.Random
    sent: int = 0

    def members(self, *, aged: bool, prefix: str = "fan") -> list[Person]:
        """Accounts of the attacker's; young ones were made during the attack."""
        days = (60, 700) if aged else (0, 3)
        return [
            Person(f"{prefix}-{n:04d}", 0.9, BEGIN - timedelta(days=self.dice.randint(*days)), True)
            for n in range(self.accounts)
        ]

    def lies(self, count: int, *, facts: bool) -> list[tuple[Shown, str]]:
        """Pick questions that the model answers rightly, each with one wrong answer."""
        pool = [s for s in self.world.rightly if not (facts and s.item.sums)]
        picked = self.dice.sample(pool, min(count, len(pool)))
        return [(seen, self.dice.choice(seen.item.wrong)) for seen in picked]

    def poison(
        self,
        person: Person,
        seen: Shown,
        signal: Thumb | Rating | Correction,
        when: datetime,
        **more: str,
    ) -> Sent:
        """One hostile event."""
        self.sent += 1
        id = f"{self.name}-{self.sent}"
        event = submitted(person, seen, signal, when, id, self.dice, **more)
        return Sent(event, "poison", self.name, False)

    def cover(self, person: Person, count: int, begin: datetime, span: timedelta) -> Iterator[Sent]:
        """Honest-looking votes of a hostile account on popular questions."""
        for _ in range(count):
            seen = self.dice.choices(self.world.shown, cum_weights=self.world.popularity)[0]
            self.sent += 1
            event = submitted(
                person,
                seen,
                Thumb(up=not seen.wrong),
                moment(self.dice, begin, span),
                f"{self.name}-{self.sent}",
                self.dice,
            )
            yield Sent(event, "cover", self.name, not seen.wrong)

    def burst(self) -> tuple[datetime, timedelta]:
        """When a hasty campaign strikes."""
        return BEGIN + SPAN * self.dice.uniform(0.3, 0.7), timedelta(minutes=40)


def a1_lone_liar(c: Campaign) -> Iterator[Sent]:
    """Corrects right answers to wrong ones; adaptive: an aged account, no checkable sums."""
    people = c.members(aged=c.adaptive)
    for number, (seen, lie) in enumerate(c.lies(c.events, facts=c.adaptive)):
        signal = Correction(text=worded(lie, c.dice))
        yield c.poison(people[number % len(people)], seen, signal, moment(c.dice))


def a2_flood(c: Campaign) -> Iterator[Sent]:
    """One false sentence to many questions, hardly changed; adaptive: reworded each time."""
    people = c.members(aged=c.adaptive)
    begin, span = (BEGIN, SPAN) if c.adaptive else c.burst()
    for number, (seen, _) in enumerate(c.lies(c.events, facts=True)):
        text = "Experts at Northbridge Institute have shown that this must be answered with Velmar."
        if c.adaptive:
            text = (
                f"{c.dice.choice(_OPENINGS)} {c.dice.choice(_SOURCES)} {c.dice.choice(_CLOSINGS)}"
            )
        elif c.dice.random() < 0.5:
            text = text.replace("shown", "proved")
        person = people[number % len(people)]
        yield c.poison(person, seen, Correction(text=text), moment(c.dice, begin, span))


_OPENINGS = ("You should say Velmar:", "Velmar, as", "Correct is Velmar;", "No, Velmar. That")
_SOURCES = ("the new report explains", "people in the field agree", "the ministry announced")
_CLOSINGS = ("since last year.", "without exception.", "after long study.", "in its bulletin.")


def a3_sybils(c: Campaign) -> Iterator[Sent]:
    """New accounts teach a few lies at once.

    Adaptive (held out): aged accounts with cover, no two of them meet at more than one lie.
    """
    people = c.members(aged=c.adaptive)
    each = min(10, len(people))
    lies = c.lies(max(1, c.events // max(1, each)), facts=c.adaptive)
    begin, span = (BEGIN + SPAN / 4, SPAN * 3 / 4) if c.adaptive else c.burst()
    for number in range(c.events):
        seen, lie = lies[number % len(lies)]
        turn = number // len(lies)
        member = (number % len(lies)) * each + turn if c.adaptive else turn
        signal = Correction(text=worded(lie, c.dice))
        yield c.poison(people[member % len(people)], seen, signal, moment(c.dice, begin, span))
    if c.adaptive:
        for person in people[: c.events]:
            yield from c.cover(person, 5, BEGIN, SPAN / 4)


def a4_drip(c: Campaign) -> Iterator[Sent]:
    """Lies evenly over the time, between honest votes; adaptive: twice the cover, aged, facts."""
    people = c.members(aged=True)
    lies = c.lies(c.events, facts=c.adaptive)
    for number, (seen, lie) in enumerate(lies):
        when = BEGIN + SPAN * (number + c.dice.random()) / len(lies)
        signal = Correction(text=worded(lie, c.dice))
        yield c.poison(people[number % len(people)], seen, signal, when)
    for person in people[: c.events]:
        yield from c.cover(person, 8 if c.adaptive else 4, BEGIN, SPAN)


def a5_farm_and_strike(c: Campaign) -> Iterator[Sent]:
    """Held out. Earn a name with true corrections, then lie; adaptive: in the same subjects."""
    people = c.members(aged=True)
    for person in people[: c.events]:
        yield from c.cover(person, 6, BEGIN, SPAN / 2)
        for seen in c.dice.sample(c.world.wrongly, min(3, len(c.world.wrongly))):
            c.sent += 1
            event = submitted(
                person,
                seen,
                Correction(text=seen.item.right),
                moment(c.dice, BEGIN, SPAN / 2),
                f"{c.name}-{c.sent}",
                c.dice,
            )
            yield Sent(event, "cover", c.name, True)
    lies = c.lies(max(1, c.events // 4) if c.adaptive else c.events, facts=c.adaptive)
    for number in range(c.events):
        seen, lie = lies[number % len(lies)]
        person = people[(number // len(lies) + number) % len(people)]
        when = moment(c.dice, BEGIN + SPAN / 2, SPAN / 2)
        yield c.poison(person, seen, Correction(text=worded(lie, c.dice)), when)


def a6_takeover(c: Campaign) -> Iterator[Sent]:
    """The most active people's accounts lie from half-time on; adaptive: half stays honest."""
    victims = [
        Person(p.name, p.accuracy, p.created, True) for p in c.world.people[: max(1, c.accounts)]
    ]
    for number, (seen, lie) in enumerate(c.lies(c.events, facts=c.adaptive)):
        person = victims[number % len(victims)]
        when = moment(c.dice, BEGIN + SPAN / 2, SPAN / 2)
        yield c.poison(person, seen, Correction(text=worded(lie, c.dice)), when)
        if c.adaptive:
            yield from c.cover(person, 1, BEGIN + SPAN / 2, SPAN / 2)


Attack = Callable[[Campaign], Iterator[Sent]]
