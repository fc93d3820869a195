"""How much a text looks like an instruction to a model: a linear n-gram model, no downloads.

The weights in `injection.bin` are signed bytes, one for each hash bucket; `train_injection` made
them from authored phrases and openly licensed data sets, of which it keeps nothing but weights.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from imece.runtime.text import fold

BUCKETS = 1 << 15
SCALE = 32.0
"""Stored weights are 32 times the real ones."""
_WEIGHTS = Path(__file__).with_name("injection.bin")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE = re.compile(r"[.!?;\n]+\s+|\n+")
_LONGEST = 400  # words of one span; longer texts are cut into spans of that size
_WORDS = 2_000
_LEAST_WORDS = 4  # fewer words order nothing


def features(text: str) -> set[int]:
    """Return the hash buckets of the words, pairs and triples of a text."""
    words = _TOKEN.findall(fold(text))[:_LONGEST]
    found = set()
    for size in (1, 2, 3):
        for at in range(len(words) - size + 1):
            found.add(zlib.crc32(" ".join(words[at : at + size]).encode()) % BUCKETS)
    return found


def raw(text: str, weights: list[float]) -> float:
    """Return the model's log-odds for one span."""
    found = features(text)
    if len(found) < 3 * _LEAST_WORDS - 3:
        return weights[-1]
    return weights[-1] + sum(weights[bucket] for bucket in found) / math.sqrt(len(found))


def spans(text: str) -> Iterator[str]:
    """Cut a text into sentences, pairs of sentences and the whole, so that nothing can be diluted.

    A text with many sentences is read in pairs only at the sentences' own borders; very long ones
    are read up to 2,000 words.
    """
    words = text.split(" ", _WORDS)
    kept = " ".join(words[:_WORDS])
    yield kept
    parts = [part for part in _SENTENCE.split(kept) if len(part) > 12][:64]
    if len(parts) > 1:
        yield from parts
    if len(parts) > 2:
        yield from (f"{a} {b}" for a, b in pairwise(parts))


def score(text: str) -> tuple[float, str]:
    """Return the log-odds of the most suspicious span, and that span."""
    weights = _weights()
    return max((raw(span, weights), span) for span in spans(text))


@cache
def _weights() -> list[float]:
    return unpack(_WEIGHTS.read_bytes())


def unpack(data: bytes) -> list[float]:
    """Read weights: a signed byte for each bucket, the last one is the bias."""
    return [(byte - 256 if byte > 127 else byte) / SCALE for byte in data]
