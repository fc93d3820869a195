"""How much a text looks like an instruction to a model: a linear n-gram model, no downloads.

The weights in `injection.bin` are signed bytes, one for each hash bucket; `train_injection` made
them from authored phrases and openly licensed data sets, of which it keeps nothing but weights.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from imece.runtime.text import fold

BUCKETS = 1 << 17
SCALE = 24.0
"""Stored weights are 24 times the real ones."""
_WEIGHTS = Path(__file__).with_name("injection.bin")
_IDEOGRAPH = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without blanks
_SIGN = r"[^\w\s']|(?<!\w)'|'(?!\w)"  # in Turkish an apostrophe stands before most endings of names
_TOKEN = re.compile(rf"[{_IDEOGRAPH}]|[^\W{_IDEOGRAPH}]{{1,40}}|{_SIGN}")
_LINE = "\u2424"
_BORDERS = frozenset(".!?;:。？！\u2424")
_LEAST = 3  # tokens; fewer order nothing
_WINDOWS = (24, 64)
_CAUTION, _SHORT, _LONG = 0.3, 64, 1_200
_CACHED = 50_000
_RUNS = 2
"""Runs of letters of a word count at most as much as this many words."""
_DIGITS = re.compile(r"\d+")


def tokens(text: str) -> list[str]:
    """Return the folded words and signs of a text, all of them; a new line is a sign too."""
    marked = text.replace("\n", f" {_LINE} ")
    return _TOKEN.findall(marked.lower() if text.isascii() else fold(marked))


def encoded(word: str) -> bytes:
    """Return a word as bytes, all numbers alike: their digits say nothing about orders."""
    return (word if word.isalpha() else _DIGITS.sub("0", word)).encode()


def pieces(word: str) -> tuple[int, ...]:
    """Return the bucket of a word, then those of its runs of three to five letters."""
    framed = f"<{word}>"
    found = [zlib.crc32(word.encode())]
    if len(word) > 2:
        found += [
            zlib.crc32(framed[at : at + size].encode(), 1)
            for size in (3, 4, 5)
            for at in range(len(framed) - size + 1)
        ]
    return tuple(bucket % BUCKETS for bucket in found)


def share(runs: int) -> float:
    """Return how much each of a word's runs counts, so that long words do not shout."""
    return (_RUNS / runs) ** 0.5 if runs > _RUNS else 1.0


def chains(hashes: Sequence[int], raw: Sequence[bytes], at: int) -> tuple[int, ...]:
    """Return the buckets of the pair and the triple of words that end at `at`."""
    if at == 0:
        return ()
    pair = zlib.crc32(raw[at], hashes[at - 1])
    if at == 1:
        return (pair % BUCKETS,)
    before = zlib.crc32(raw[at - 1], hashes[at - 2])
    return pair % BUCKETS, zlib.crc32(raw[at], before) % BUCKETS


def spans(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Cut a text into sentences, pairs of sentences, windows and the whole, as index ranges.

    Nothing can be diluted by what stands around it, nor by leaving out full stops.
    """
    size = len(words)
    yield 0, size
    ends = [at + 1 for at, word in enumerate(words) if word in _BORDERS]
    cuts = [0, *ends] if ends and ends[-1] == size else [0, *ends, size]
    if len(cuts) > 2:
        parts = [(a, b) for a, b in pairwise(cuts) if b - a > _LEAST]
        yield from parts
        yield from ((a[0], b[1]) for a, b in pairwise(parts) if b[1] - a[0] < size)
    for width in _WINDOWS:
        yield from ((at, at + width) for at in range(0, size - width, width // 2))
        if size > width:
            yield size - width, size


def caution(size: int) -> float:
    """Return what a text of `size` tokens must show more: the highest of many spans is high.

    It stops growing, so that no order drowns in the longest text.
    """
    return _CAUTION * math.log(min(max(size, _SHORT), _LONG) / _SHORT)


class Model:
    """Weights and what they say about texts; the weights of words met before are kept."""

    def __init__(self, weights: Sequence[float]) -> None:
        """`weights` has one number for each bucket, the last one is the bias."""
        self._weights = weights
        self._known: dict[str, tuple[bytes, int, float]] = {}

    def score(self, text: str) -> tuple[float, str]:
        """Return the log-odds of the most suspicious span, less the caution, and that span."""
        words = tokens(text)
        sums = self._sums(words)
        bias, best, where = self._weights[BUCKETS], -99.0, (0, 0)
        for start, end in spans(words):
            length = end - start
            odds = (sums[end] - sums[start]) / length**0.5 if length >= _LEAST else 0.0
            if odds > best:
                best, where = odds, (start, end)
        return bias + best - caution(len(words)), " ".join(words[where[0] : where[1]])

    def _sums(self, words: Sequence[str]) -> list[float]:
        """Return running sums of what each word adds, in the light of the two before it."""
        weights, crc32 = self._weights, zlib.crc32
        added = []
        last, pair = 0, 0
        for at, word in enumerate(words):
            raw, hashed, weight = self._known.get(word) or self._learn(word)
            if at:
                if at > 1:
                    weight += weights[crc32(raw, pair) % BUCKETS]
                pair = crc32(raw, last)
                weight += weights[pair % BUCKETS]
            last = hashed
            added.append(weight)
        return list(accumulate(added, initial=0.0))

    def _learn(self, word: str) -> tuple[bytes, int, float]:
        if len(self._known) >= _CACHED:
            self._known.clear()
        raw, weights = encoded(word), self._weights
        whole, *runs = pieces(raw.decode())
        weight = weights[whole] + share(len(runs)) * sum(weights[bucket] for bucket in runs)
        self._known[word] = found = (raw, zlib.crc32(raw), weight)
        return found


def score(text: str) -> tuple[float, str]:
    """Return the log-odds that a text orders, by its most suspicious span, and that span folded."""
    return _model().score(text)


@cache
def _model() -> Model:
    return Model(unpack(_WEIGHTS.read_bytes()))


def unpack(data: bytes) -> list[float]:
    """Read weights: a signed byte for each bucket, the last one is the bias."""
    return [(byte - 256 if byte > 127 else byte) / SCALE for byte in data]
