"""Answer simple arithmetic questions, or abstain; no eval, English and Turkish."""

from __future__ import annotations

import re
from fractions import Fraction

from imece.runtime.memory import remembered
from imece.runtime.text import fold, stemmed

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve"
_TURKISH = "sıfır bir iki üç dört beş altı yedi sekiz dokuz on"
WORDS = {fold(w): n for words in (_UNITS, _TURKISH) for n, w in enumerate(words.split())}
_OPERATORS = {
    "+": "+",
    "plus": "+",
    "artı": "+",
    "-": "-",
    "minus": "-",
    "eksi": "-",
    "*": "*",
    "x": "*",
    "×": "*",
    "times": "*",
    "çarpı": "*",
    "/": "/",
    "÷": "/",
    "bölü": "/",
}
_OPERATORS = {fold(word): sign for word, sign in _OPERATORS.items()}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/×÷]")
_PUNCTUATION = re.compile(r"[\s?.:;,='\"’]")
_LIMIT = 10**12
_ASKS = frozenset(
    fold(
        "a an answer are as asked at be calculate can compute could do does equal equals evaluate "
        "for get give how i if in is it its make makes math maths me much my number of out please "
        "problem question quick result s say should so solve sum teacher tell that the this to "
        "value we what whats when work would you your "
        "bana cevabı eder hesapla kaç kaça kaçtır lütfen ne nedir sonucu sonuç söyle toplamı yapar"
    ).split()
)
"""Words that may stand around an expression; with any other word it is no plain calculation."""
_ADDS = frozenset(fold("add added and ile sum total topla toplam toplamı together up ve").split())
_SUMS = frozenset(fold("add added sum total together topla toplam toplamı").split())
_STORY = re.compile(
    r"(?:if )?\w+ (?:has|have|are) (\d+) (\w+) and "
    r"(?:(?:get|gets|buy|buys|find|finds) (\d+) more|(\d+) more (?:come|arrive)) "
    r"how many \2 (?:do|does|are) \w+(?: have)?"
)
"""Two heaps of one thing that are counted together; other word problems are left alone."""


@remembered  # one question is looked at by several stages
def expression(question: str) -> str | None:
    """Return the canonical expression that `question` asks for, such as ``2+2``, or None.

    A verifier must be certain, so a question with anything besides one expression (other words,
    brackets, signs, years, "24/7 support") is somebody else's.
    """
    folded = stemmed(question)
    said = _TOKEN.findall(folded)
    tokens = [_number(token) for token in said]
    numbers = [t for t in tokens if t[0].isdecimal()]
    if not numbers or _PUNCTUATION.sub("", folded) != "".join(said):
        return None  # nothing to compute, or something was not read: brackets, powers, per cent
    operators = [t for t in tokens if t in _OPERATORS]
    words = {t for t in tokens if t not in _OPERATORS and not t[0].isdecimal()}
    if operators and words <= _ASKS:
        return _infix(tokens)
    if not operators and len(numbers) == 2 and words & _SUMS and words <= _ASKS | _ADDS:
        return "+".join(numbers)
    story = _STORY.fullmatch(" ".join(tokens))
    return f"{story[1]}+{story[3] or story[4]}" if story else None


def _infix(tokens: list[str]) -> str | None:
    """Read number, operator, number, … as one run without gaps."""
    marks = [i for i, t in enumerate(tokens) if t in _OPERATORS or t[0].isdecimal()]
    run = [_OPERATORS.get(tokens[i], tokens[i]) for i in marks]
    unbroken = marks == list(range(marks[0], marks[0] + len(marks)))
    shaped = len(run) % 2 == 1 and all((t in "+-*/") == bool(at % 2) for at, t in enumerate(run))
    return "".join(run) if unbroken and shaped else None


def value(expression: str) -> Fraction | None:
    """Compute a canonical expression with the usual precedence; None when it has no value."""
    parts = re.findall(r"\d+(?:\.\d+)?|[-+*/]", expression)
    terms: list[Fraction] = []
    sign, operator = 1, "+"
    for part in parts:
        if part in "+-*/":
            operator = part
            continue
        number = Fraction(part)
        if operator in "+-":
            sign = 1 if operator == "+" else -1
            terms.append(sign * number)
        elif operator == "*":
            terms[-1] *= number
        elif number == 0:
            return None
        else:
            terms[-1] /= number
    total = sum(terms, Fraction(0))
    return total if abs(total) < _LIMIT else None


def _number(token: str) -> str:
    return str(WORDS[token]) if token in WORDS else token
