"""The queue on both databases, with reviewers who really come at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from imece.chain import first_fault
from imece.errors import RejectedError
from imece.runtime.database import Database
from services.review import answers, ledger, people, store, tables
from services.review.people import Reviewer
from services.review.policy import Checks, Policy
from services.review.slots import Hold
from tests.integration.postgres import postgresql  # noqa: F401
from tests.unit.review.world import asked

POLICY = Policy(answers=2, lease_seconds=0.2, checks=Checks(gold=0.2, repeat=0.2, repeat_after=2))
REVIEWERS, ITEMS = 8, 30


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'review.db'}"
        return
    yield request.getfixturevalue("postgresql")


def connect(url: str) -> Database:
    return Database(url, tables.METADATA, "review-queue")


def work(url: str, who: Reviewer, failures: list[BaseException]) -> None:
    """Answer until nothing is left; every seventh time too late, every fifth answer is undone."""
    database = connect(url)
    try:
        for turn in range(1, 10 * ITEMS):
            task = database.transact(store.claim, who, POLICY, time.time())
            if task is None:
                return
            if turn % 7 == 0:
                time.sleep(2 * POLICY.lease_seconds)
            hold = Hold(who.name, task.slot, task.version)
            try:
                database.transact(answers.answer, hold, turn % 2, POLICY, time.time())
                if turn % 5 == 0:
                    database.transact(answers.undo, who.name, POLICY, time.time())
            except RejectedError as error:
                if error.reason not in ("lease_lost", "too_late"):
                    raise
    except BaseException as error:
        failures.append(error)


def test_every_item_gets_exactly_k_answers_of_different_people(url):
    database = connect(url)
    database.transact(
        store.add, [asked(f"q{number}") for number in range(ITEMS)], POLICY, time.time()
    )
    database.transact(store.add_gold, "2+2?", ("4", "5"), 0, time.time())
    crowd = [Reviewer(f"r{number}", False) for number in range(REVIEWERS)]
    for who in crowd:
        database.transact(people.add, who.name, who.adjudicator, time.time())
    failures: list[BaseException] = []
    threads = [threading.Thread(target=work, args=(url, who, failures)) for who in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    finish(url, crowd[0], database)
    slot, item = tables.SLOT.c, tables.ITEM.c
    query = select(slot.item, slot.reviewer).join(tables.ITEM, item.item == slot.item)
    blind = query.where(slot.state == "answered", slot.number < item.answers)
    given = database.transact(lambda c: [tuple(row) for row in c.execute(blind)])
    assert Counter(each for each, _ in given) == {f"q{number}": 2 for number in range(ITEMS)}
    assert max(Counter(given).values()) == 1
    log = database.transact(lambda c: list(ledger.entries(c, limit=100_000)))
    assert first_fault(log, database.transact(ledger.head)[1]) is None


def finish(url: str, who: Reviewer, database: Database) -> None:
    """Answer what was in somebody's hands when the others found nothing more."""
    time.sleep(2 * POLICY.lease_seconds)
    patient = POLICY.model_copy(update={"lease_seconds": 600})
    names = [who.name, *(f"late{number}" for number in range(2))]
    for name in names[1:]:
        database.transact(people.add, name, False, time.time())
    for name in names:
        while task := database.transact(store.claim, Reviewer(name, False), patient, time.time()):
            hold = Hold(name, task.slot, task.version)
            database.transact(answers.answer, hold, 0, patient, time.time())
