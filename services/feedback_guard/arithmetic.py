"""Answer simple arithmetic questions, or abstain; no eval, English and Turkish."""

from __future__ import annotations

import re
from fractions import Fraction

from imece.runtime.text import fold

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
_LIMIT = 10**12
_PLAIN_ADDITION = {"add", "sum", "total", "together", "topla", "toplam", "toplami", "more"}


def expression(question: str) -> str | None:
    """Return the canonical expression that `question` asks for, such as ``2+2``, or None.

    Only questions with exactly one expression are read; everything else is somebody else's.
    """
    tokens = [_number(token) for token in _TOKEN.findall(fold(question).replace("'s", ""))]
    operators = [i for i, t in enumerate(tokens) if t in _OPERATORS and _between(tokens, i)]
    numbers = [t for t in tokens if re.fullmatch(r"\d+(\.\d+)?", t)]
    if operators and len(numbers) == len(operators) + 1:
        first = operators[0] - 1
        last = operators[-1] + 1
        return "".join(_OPERATORS.get(t, t) for t in tokens[first : last + 1])
    if not operators and len(numbers) == 2 and _PLAIN_ADDITION & set(tokens):
        return "+".join(numbers)
    return None


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


def _between(tokens: list[str], i: int) -> bool:
    return (
        0 < i < len(tokens) - 1
        and bool(re.fullmatch(r"\d+(\.\d+)?", tokens[i - 1]))
        and bool(re.fullmatch(r"\d+(\.\d+)?", tokens[i + 1]))
    )


def _number(token: str) -> str:
    return str(WORDS[token]) if token in WORDS else token
