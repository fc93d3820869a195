"""Text as scores see it: one Unicode form, folded by language, cut into words and sentences."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

TOKENS = "unicode/1"
"""Names the rules below in signatures; raise it when they change."""
_TURKIC = {"tr", "az"}
_TURKISH = str.maketrans({"I": "ı", "İ": "i"})
_OTHER = str.maketrans({"İ": "i"})  # lower() would leave a combining dot behind
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])\s+")


def nfc(text: str) -> str:
    """Return the composed form, so that one visible text is one text."""
    return unicodedata.normalize("NFC", text)


def fold(text: str, language: str = "") -> str:
    """Return `text` in lower case; Turkish and Azeri keep ı and i apart."""
    table = _TURKISH if language in _TURKIC else _OTHER
    return nfc(text).translate(table).lower()


def words(text: str, language: str = "") -> list[str]:
    """Return folded runs of letters, digits and their marks; scripts without blanks by character.

    For ASCII this is what rouge_score does.
    """
    return "".join(map(_seen, fold(text, language))).split()


def sentences(text: str) -> list[str]:
    """Return the lines of `text`, or its sentences when it is one line."""
    lines = [line for line in text.split("\n") if line.strip()]
    return lines if len(lines) > 1 else [s for s in _SENTENCE_END.split(text) if s.strip()]


@lru_cache(maxsize=65_536)
def _seen(letter: str) -> str:
    if letter.isascii():
        return letter if letter.isalnum() else " "
    if unicodedata.category(letter)[0] not in "LNM":
        return " "
    name = unicodedata.name(letter, "")
    alone = name.startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI CHARACTER", "LAO LETTER"))
    return f" {letter} " if alone else letter
