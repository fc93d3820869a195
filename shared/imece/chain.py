"""A hash-chained log: every entry carries the hash of the one before it, so no past is editable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""What the first entry names as its predecessor."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `number` counts from 1, `at` is ISO 8601."""

    number: int
    at: str
    kind: str
    body: Mapping[str, Any]
    previous: str
    hash: str


def linked(number: int, at: str, kind: str, body: Mapping[str, Any], previous: str) -> Entry:
    """Return the entry that follows the one with the hash `previous`."""
    plain = {"number": number, "at": at, "kind": kind, "body": body, "previous": previous}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Entry(number, at, kind, body, previous, hashlib.sha256(text.encode()).hexdigest())


def first_fault(entries: Iterable[Entry], head: str | None = None) -> str | None:
    """Say what is wrong with a log that starts at its beginning, None when nothing is.

    Without `head`, the hash of the last entry noted down earlier, a log that was cut off at its end
    or written anew as a whole cannot be told from a shorter one.
    """
    previous, number, met = GENESIS, 0, head is None or head == GENESIS
    for number, entry in enumerate(entries, 1):
        if entry.number != number:
            return f"entry {number} is missing: number {entry.number} stands in its place"
        if entry.previous != previous:
            return f"entry {number} does not follow entry {number - 1}"
        expected = linked(entry.number, entry.at, entry.kind, entry.body, entry.previous)
        if entry.hash != expected.hash:
            return f"entry {number} was changed"
        previous = entry.hash
        met = met or previous == head
    return None if met else f"the log holds {number} entries and not the one with the hash {head}"
