"""A queue on a database of its own, with a clock that the test moves."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imece.events import Envelope, ReviewAnswered, ReviewRequested, new
from imece.runtime.database import Database
from services.review import announce, answers, ledger, people, reports, store, tables
from services.review.people import Reviewer
from services.review.policy import Checks, Policy
from services.review.slots import Hold, Task

PLAIN = Policy(lease_seconds=60, undo_seconds=30, checks=Checks(gold=0, repeat=0))


def asked(item: str, **changes: Any) -> Envelope[ReviewRequested]:
    """Return a request for people to compare two answers."""
    given: dict[str, Any] = {
        "origin": "judgement",
        "prompt": f"question {item}",
        "options": ("first", "second"),
        **changes,
    }
    return new(ReviewRequested(item=item, **given), "judge", f"id-{item}")


@dataclass
class World:
    """The queue under test."""

    database: Database
    policy: Policy = PLAIN
    now: float = 1_000_000.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def ask(self, *events: Envelope[ReviewRequested]) -> None:
        self.database.transact(store.add, events, self.policy, self.now, self.chance)

    def reviewer(self, name: str, *, adjudicator: bool = False) -> Reviewer:
        self.database.transact(people.add, name, adjudicator, self.now)
        return Reviewer(name, adjudicator)

    def next(self, who: Reviewer) -> Task | None:
        return self.database.transact(store.claim, who, self.policy, self.now, self.chance)

    def answer(self, who: Reviewer, task: Task, option: str) -> None:
        """Answer as somebody who looks for the text of an option."""
        hold, shown = hold_of(who, task), task.options.index(option)
        self.now += 1
        self.database.transact(answers.answer, hold, shown, self.policy, self.now)

    def skip(self, who: Reviewer, task: Task, reason: str = "unclear") -> None:
        self.now += 1
        self.database.transact(answers.skip, hold_of(who, task), reason, self.policy, self.now)

    def undo(self, who: Reviewer) -> None:
        self.database.transact(answers.undo, who.name, self.policy, self.now)

    def final(self) -> list[ReviewAnswered]:
        """Return what is announced now, as a service that publishes it would."""
        found = self.database.transact(announce.finals, self.policy, self.now)
        self.database.transact(announce.mark_announced, found)
        return [each.event.data for each in found]

    def state(self, item: str) -> tuple[str, int | None]:
        query = tables.ITEM.select().where(tables.ITEM.c.item == item)
        row = self.database.transact(lambda c: c.execute(query).one())
        return row.state, row.outcome

    def why(self, who: Reviewer) -> reports.Waiting:
        return self.database.transact(reports.waiting, who, self.now)

    def log(self) -> list[Any]:
        return self.database.transact(lambda c: list(ledger.entries(c)))


def hold_of(who: Reviewer, task: Task) -> Hold:
    return Hold(who.name, task.slot, task.version)


def made(folder: Path, policy: Policy = PLAIN) -> World:
    """Return an empty queue on SQLite."""
    return World(Database(f"sqlite:///{folder / 'review.db'}", tables.METADATA, "review"), policy)
