"""Whether an edited past is found, entry by entry (H4)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from imece.chain import GENESIS, Entry, first_fault, linked
from tests.bench.results import Row
from tests.unit.review.world import asked, made

Edit = Callable[[list[Entry], int], list[Entry]]


def _put(log: list[Entry], at: int, entry: Entry) -> list[Entry]:
    return [*log[:at], entry, *log[at + 1 :]]


def _body(log: list[Entry], at: int) -> list[Entry]:
    return _put(log, at, replace(log[at], body={**log[at].body, "choice": 7}))


def _hashed(log: list[Entry], at: int) -> list[Entry]:
    """Change a body and its own hash with it."""
    old = log[at]
    body = {**old.body, "choice": 7}
    return _put(log, at, linked(old.number, old.at, old.kind, body, old.previous))


def _forged(log: list[Entry], at: int) -> list[Entry]:
    """Change a body and every hash after it."""
    found, previous = log[:at], log[at].previous
    for entry in [replace(log[at], body={**log[at].body, "choice": 7}), *log[at + 1 :]]:
        found.append(linked(entry.number, entry.at, entry.kind, entry.body, previous))
        previous = found[-1].hash
    return found


EDITS: dict[str, Edit] = {
    "body": _body,
    "body and its hash": _hashed,
    "body and all hashes": _forged,
    "time": lambda log, at: _put(log, at, replace(log[at], at="2020-01-01T00:00:00+00:00")),
    "kind": lambda log, at: _put(log, at, replace(log[at], kind="skipped-not")),
    "removed": lambda log, at: [*log[:at], *log[at + 1 :]],
    "doubled": lambda log, at: [*log[: at + 1], *log[at:]],
    "cut off": lambda log, at: log[:at],
}


def _log(items: int) -> list[Entry]:
    """Return the log of a queue in which two people answered `items`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        world = made(Path(name))
        people = [world.reviewer(each) for each in ("ayşe", "can")]
        world.ask(*(asked(str(number)) for number in range(items)))
        for who in people:
            while task := world.next(who):
                world.answer(who, task, "first")
        return world.log()


def row(items: int) -> Row:
    """Edit every entry in every way, each time alone; the head was noted down before."""
    log = _log(items)
    head = log[-1].hash if log else GENESIS
    if fault := first_fault(log, head):
        raise AssertionError(f"the untouched log has a fault: {fault}")
    found = [first_fault(edited, head) is not None for edited in _edited(log)]
    share = 100 * sum(found) / len(found)
    note = f"{len(found)} edits: each of {len(log)} entries in {len(EDITS)} ways"
    return Row("H4", share, "%", "100", share == 100, note=note)


def _edited(log: list[Entry]) -> Iterable[list[Entry]]:
    for edit in EDITS.values():
        for at in range(len(log)):
            yield edit(log, at)
