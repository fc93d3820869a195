"""Fold text for comparison and decide whether a free answer says what was expected.

English and Turkish are treated alike: I, ı, İ and i fold to one letter, since a text does not say
which of the two alphabets it is in.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_COMBINING_DOT = "\u0307"
_POWER = re.compile(r"(?<=[\d)])(?=[⁻⁺]?[⁰¹²³⁴-⁹])(?<![⁰¹²³⁴-⁹])")
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_UNITS_EN = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_TEENS_EN = " fifteen sixteen seventeen eighteen nineteen"
_UNITS_TR = "sıfır bir iki üç dört beş altı yedi sekiz dokuz"
_TENS_EN = "ten twenty thirty forty fifty sixty seventy eighty ninety"
_TENS_TR = "on yirmi otuz kırk elli altmış yetmiş seksen doksan"
_COPULA = r"(?:d|t)[iuü]r"  # "mavidir": Turkish writes "is" on to the noun, folded ı is i
_NEGATIONS = {"not", "never", "isn't", "aren't", "wasn't", "no"}
_TOKEN = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)*(?=\D|$)|\d+(?:[.,]\d+)*|[^\W\d_]+(?:'t\b)?")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
_ENDING = re.compile(r"(\w)'\w+")
_LEFT_OF_EQUALS = re.compile(r"[\d(][\d\s.,+\-−*/x×÷()]*=")


@lru_cache(maxsize=64)  # the same question and answer are folded by several steps in a row
def fold(text: str) -> str:
    """Return `text` in NFKC, case-folded for English and Turkish, blanks collapsed.

    NFKC alone makes 22 of 2² and 31⁄2 of 3½: they become 2^2 and 3 1⁄2.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    text = _FRACTION.sub(" ", _POWER.sub("^", text))
    folded = unicodedata.normalize("NFKC", text).casefold().replace(_COMBINING_DOT, "")
    return " ".join(folded.replace("ı", "i").replace("’", "'").replace("−", "-").split())


def stemmed(text: str) -> str:
    """Return `text` folded and without what words have behind an apostrophe: what's, 3'ün."""
    folded = fold(text)
    return _ENDING.sub(r"\1", folded) if "'" in folded else folded


_WORD_NUMBERS = (
    {fold(w): n for n, w in enumerate((_UNITS_EN + _TEENS_EN).split())}
    | {fold(w): n for n, w in enumerate(_UNITS_TR.split())}
    | {fold(w): 10 * n for n, w in enumerate(_TENS_EN.split(), start=1)}
    | {fold(w): 10 * n for n, w in enumerate(_TENS_TR.split(), start=1)}
)


def contains_answer(text: str, expected: Sequence[str], question: str = "") -> bool:
    """Tell whether `text` answers with one of `expected`; whole words and whole numbers only.

    Numbers: the first one that decides counts, so "4, not 5" says 4. Operands left of an equals
    sign never decide, nor do numbers repeated from `question`, unless the text has no others
    (then its last number counts). Number words of both languages up to 99 are read as digits.
    "Not 5 but 4" is read as 5: we would rather miss a right answer than credit a wrong one.

    Words: any mention counts if it is not negated ("not Lyon", "Lyon değil").
    """
    said = _tokens(text)
    decided: str | None = None
    for answer in expected:
        wanted = _tokens(answer)
        if len(wanted) == 1 and _NUMBER.fullmatch(wanted[0]):
            decided = decided or _deciding_number(text, question, one_counts=wanted[0] == "1")
            if decided == wanted[0]:
                return True
        elif wanted and _mentions(said, wanted):
            return True
    return False


def _tokens(text: str) -> list[str]:
    return [_plain_number(token) for token in _TOKEN.findall(fold(text))]


def _plain_number(token: str) -> str:
    """Write 1,000 as 1000, 4.0 as 4 and 007 as 7; leave words alone."""
    if not _NUMBER.fullmatch(token):
        return token
    grouped = re.fullmatch(r"-?\d{1,3}(?:[.,]\d{3})+", token)
    plain = re.sub(r"[.,]", "", token) if grouped else token.replace(",", ".")
    try:
        return f"{float(plain):.15g}" if len(plain) < 16 else plain
    except ValueError:  # 1.2.3 is a version, not a number
        return plain


def _deciding_number(text: str, question: str, *, one_counts: bool) -> str | None:
    asked = Counter(_numbers(question, one_counts=True))
    said = _numbers(_LEFT_OF_EQUALS.sub(" ", fold(text)), one_counts=one_counts)
    for number in said:
        if asked[number] == 0:
            return number
        asked[number] -= 1
    return said[-1] if said else None


def _numbers(text: str, *, one_counts: bool) -> list[str]:
    """List the numbers of `text` in order; "one" and "bir" are mostly articles, hence the flag."""
    found: list[str] = []
    tens: int | None = None
    for token in _tokens(text):
        word = re.sub(_COPULA + "$", "", token)
        value = _WORD_NUMBERS.get(token, _WORD_NUMBERS.get(word))
        if value is not None and tens is not None and 0 < value < 10:
            found[-1] = str(tens + value)  # "twenty one", "yirmi bir"
            tens = None
        elif value is not None and (value != 1 or one_counts):
            found.append(str(value))
            tens = value if value in range(10, 100, 10) else None
        else:
            tens = None
            if _NUMBER.fullmatch(token):
                found.append(token)
    return found


def _mentions(said: list[str], wanted: list[str]) -> bool:
    last = re.compile(re.escape(wanted[-1]) + f"(?:{_COPULA})?")
    size = len(wanted)
    for at in range(len(said) - size + 1):
        if said[at : at + size - 1] == wanted[:-1] and last.fullmatch(said[at + size - 1]):
            before, after = said[at - 1 : at], said[at + size : at + size + 1]
            if not (_NEGATIONS & set(before)) and after != ["değil"]:
                return True
    return False
