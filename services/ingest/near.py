"""Near-duplicates: MinHash bands find candidates, exact Jaccard similarity decides.

Texts with different numbers never match (2+2 is not 2+3), and short prompts match only with the
same answer: "the capital of Peru" and "the capital of Iran" share a template, not a question.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import rensa

from imece.runtime.text import fold
from services.ingest import core

_PERMUTATIONS, _ROWS_A_BAND, _SEED = 64, 4, 1
_SHORT = 200
"""Characters below which shingles are short and prompts are taken for templates."""
_NUMBERS = re.compile(
    r"\d+|[²³¹⁰-ⁿ₀-₉¼-¾⅐-ↈ]|(?<=\d)\s*[-+*/×÷−^%=<>]\s*(?=\d)"  # superscripts are not digits
)


@dataclass(frozen=True, slots=True)
class Key:
    """What a record is compared by; `bands` are the places to look for similar ones."""

    text: str
    answer: str
    numbers: tuple[str, ...]
    needs_answer: bool
    bands: tuple[int, ...] = ()


def key_of(kind: str, record: str) -> Key:
    """Return the key of a stored record, without bands."""
    text, answer = core.subject(json.loads(record))
    folded = fold(text)
    template = kind not in {"document", "labelled"} and len(folded) < _SHORT
    numbers = tuple("".join(found.split()) for found in _NUMBERS.findall(text))
    return Key(folded, " ".join(answer.split()), numbers, template)


def keys(rows: Sequence[core.NewRow]) -> list[Key]:
    """Return the keys of new rows with their bands; the first band is the folded text itself."""
    plain = [key_of(row.kind, row.record) for row in rows]
    sets = [list(shingles(key.text)) for key in plain]
    digests = rensa.RMinHash.digests_from_token_sets(sets, num_perm=_PERMUTATIONS, seed=_SEED)
    return [
        Key(
            key.text,
            key.answer,
            key.numbers,
            key.needs_answer,
            _bands(row.dataset, key, digest),
        )
        for row, key, digest in zip(rows, plain, digests, strict=True)
    ]


def similarity(one: Key, other: Key) -> float:
    """Return the Jaccard similarity of two texts, 0 when their numbers differ."""
    if one.numbers != other.numbers:
        return 0.0
    if one.text == other.text:
        return 1.0
    mine, theirs = shingles(one.text), shingles(other.text)
    return len(mine & theirs) / len(mine | theirs)


def together(one: Key, other: Key, least: float) -> bool:
    """Tell whether two records ask the same, so that they must be in the same split."""
    if one.text == other.text and one.numbers == other.numbers:
        return True
    if (one.needs_answer or other.needs_answer) and one.answer != other.answer:
        return False
    return similarity(one, other) >= least


def shingles(text: str) -> set[str]:
    """Return the pieces of `text`: 3 characters, or 9 in long texts, where 3 are in every text."""
    width = 3 if len(text) < _SHORT else 9
    return {text[i : i + width] for i in range(max(1, len(text) - width + 1))}


def _bands(dataset: str, key: Key, digest: Sequence[int]) -> tuple[int, ...]:
    # What must be equal anyway goes into the band's hash: templates then do not pile up in one.
    numbers = "\x1f".join(key.numbers)
    exact = _hash(f"{dataset}\x1fexact\x1f{numbers}\x1f{key.text}".encode())
    answer = key.answer if key.needs_answer else ""
    scope = hashlib.sha256(f"{dataset}\x1f{numbers}\x1f{answer}".encode()).digest()
    starts = range(0, _PERMUTATIONS, _ROWS_A_BAND)
    return (
        exact,
        *(_hash(scope + struct.pack("<5Q", i, *digest[i : i + _ROWS_A_BAND])) for i in starts),
    )


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True)
