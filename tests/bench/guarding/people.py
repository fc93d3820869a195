"""Who is asked for a second opinion, what they say and when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from tests.bench.guarding.stream import Person, Sent

_SKILLED = 0.9


@dataclass(frozen=True)
class Opinion:
    """One person's word on one answer."""

    when: datetime
    person: str
    right: bool
    sampled: bool


@dataclass(frozen=True)
class Pool:
    """Randomly sampled users, and few of the operator's own people.

    Sampled users compare two answers with time to look up: nine in ten are right, or (`skilled`
    False) as few as among paid workers who guess. `against` is the share of sampled people who
    always speak for the attacker; hostile accounts are sampled like everybody else.
    """

    people: tuple[Person, ...]
    skilled: bool = True
    answering: float = 1.0
    median_minutes: float = 40
    staff: int = 2
    staff_right: float = 0.98
    staff_a_day: int = 40
    against: float = 0.0

    def asked(
        self, about: Sent, names: Sequence[str], when: datetime, dice: random.Random
    ) -> list[Opinion]:
        """Return what the users whom the guard invited say, in order of time."""
        opinions = []
        for person in (self.by_name[name] for name in names):
            if dice.random() > self.answering:
                continue
            hostile = person.hostile or dice.random() < self.against
            delay = timedelta(minutes=dice.lognormvariate(0, 1) * self.median_minutes)
            accuracy = _SKILLED if self.skilled else person.accuracy
            said = self._says(about, accuracy, hostile, dice)
            opinions.append(Opinion(when + delay, person.name, said, True))
        return sorted(opinions, key=lambda o: o.when)

    @cached_property
    def by_name(self) -> dict[str, Person]:
        """Everybody whom the guard may invite: it draws among those active lately."""
        return {person.name: person for person in self.people}

    def staffed(self, about: Sent, when: datetime, dice: random.Random) -> list[Opinion]:
        """Return what the operator's own people say, hours later."""
        delays = sorted(timedelta(hours=dice.uniform(6, 18)) for _ in range(self.staff))
        return [
            Opinion(
                when + delay,
                f"staff-{n}",
                self._says(about, self.staff_right, False, dice),
                False,
            )
            for n, delay in enumerate(delays)
        ]

    def _says(self, about: Sent, accuracy: float, hostile: bool, dice: random.Random) -> bool:
        if hostile:
            return about.role == "poison"
        if about.right is None:
            return dice.random() < 0.5
        return about.right == (dice.random() < accuracy)


def pool(people: Sequence[Person], stream: Sequence[Sent], **more: float) -> Pool:
    """Return the pool for a stream: its people and the attacker's accounts that act in it."""
    names = {p.name for p in people}
    taken = {s.event.data.user for s in stream if s.role == "poison"}
    fans = {s.event.data.user for s in stream if s.role != "honest"} - names
    known = [Person(p.name, p.accuracy, p.created, p.name in taken) for p in people]
    born = {s.event.data.user: s.event.data.account_created for s in stream}
    sybils = [Person(n, 0.9, born[n] or people[0].created, True) for n in sorted(fans)]
    return Pool(tuple(known + sybils), **more)  # type: ignore[arg-type]
