"""Which words are rare everywhere: a Bloom filter of the words of ordinary texts, no downloads."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from imece.runtime.memory import remembered
from imece.runtime.text import fold
from services.feedback_guard import claims

_BITS = 1 << 18
_WORDS = Path(__file__).with_name("background.bin")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MOST = 8  # phrases kept of one row


@remembered
def rare_phrases(*texts: str) -> tuple[str, ...]:
    """Return hashes of the words that ordinary texts do not have.

    A backdoor needs a trigger that means nothing elsewhere; these are what budgets count.
    """
    found = dict.fromkeys(word for text in texts for word in words_of(text) if not known(word))
    return tuple(hashlib.blake2b(w.encode(), digest_size=6).hexdigest() for w in [*found][:_MOST])


@lru_cache(maxsize=65_536)
def known(word: str) -> bool:
    """Tell whether ordinary texts have this folded word; a few rare ones pass too."""
    if word in claims.FILLER:
        return True
    bits = _bits()
    one, other = _places(word)
    return bool(bits[one >> 3] >> (one & 7) & bits[other >> 3] >> (other & 7) & 1)


def pack(words: Iterable[str]) -> bytes:
    """Return the filter of these folded words."""
    bits = bytearray(_BITS // 8)
    for word in words:
        for place in _places(word):
            bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def words_of(text: str) -> list[str]:
    """Return the folded words of a text."""
    return _WORD.findall(fold(text))


def _places(word: str) -> tuple[int, int]:
    raw = word.encode()
    return zlib.crc32(raw) % _BITS, zlib.crc32(raw, 0x9E3779B9) % _BITS


@cache
def _bits() -> bytes:
    return _WORDS.read_bytes()
