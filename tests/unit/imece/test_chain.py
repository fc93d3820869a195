"""A log whose past cannot be edited unseen."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from imece.chain import GENESIS, Entry, first_fault, linked


def log(length: int = 20) -> list[Entry]:
    entries: list[Entry] = []
    previous = GENESIS
    for number in range(1, length + 1):
        body = {"reviewer": "ayşe", "choice": number % 2}
        entries.append(linked(number, "2026-01-02T03:04:05+00:00", "answered", body, previous))
        previous = entries[-1].hash
    return entries


def test_an_untouched_log_has_no_fault():
    assert first_fault(log()) is None
    assert first_fault([]) is None
    assert first_fault([], GENESIS) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda e: dataclasses.replace(e, body={**e.body, "choice": 9}),
        lambda e: dataclasses.replace(e, at="2026-01-02T03:04:06+00:00"),
        lambda e: dataclasses.replace(e, kind="skipped"),
        lambda e: dataclasses.replace(e, previous="f" * 64),
        lambda e: dataclasses.replace(e, hash="f" * 64),
        lambda e: dataclasses.replace(e, number=99),
        lambda e: linked(e.number, e.at, e.kind, {"choice": 9}, e.previous),
    ],
)
def test_a_changed_entry_is_found(change: Callable[[Entry], Entry]):
    for at in range(19):
        entries = log()
        entries[at] = change(entries[at])
        assert first_fault(entries) is not None, at


def test_entries_that_were_removed_or_swapped_are_found():
    for at in range(19):
        entries = log()
        assert first_fault(entries[:at] + entries[at + 1 :]) is not None
        entries[at], entries[at + 1] = entries[at + 1], entries[at]
        assert first_fault(entries) is not None


def test_a_log_that_was_cut_or_written_anew_is_found_by_a_hash_noted_earlier():
    entries, chance = log(), random.Random(1)
    head = entries[-1].hash
    assert first_fault(entries, head) is None
    assert "not the one with the hash" in str(first_fault(entries[:-1], head))
    anew, previous = [], GENESIS
    for entry in entries:
        body = {**entry.body, "choice": chance.randrange(2, 9)}
        anew.append(linked(entry.number, entry.at, entry.kind, body, previous))
        previous = anew[-1].hash
    assert first_fault(anew) is None
    assert first_fault(anew, head) is not None


def test_a_log_that_grew_since_is_fine():
    entries = log()
    assert first_fault(entries, entries[10].hash) is None
