"""What an answer says at its end: the strict reading beside the lenient one of `imece.runtime`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from imece.runtime.text import contains_answer, fold

_MARK = re.compile(
    r"(?:####|\b(?:final answer|answer|result|cevap|sonuç|yanıt)\b"
    r"(?:\s+(?:is|olarak))?\s*[:=]?|\\boxed\{)",
    re.IGNORECASE,
)
_FRAME = " \t\n.!?;:,\"'`*_()[]{}$€₺£%“”‘’"
_NUMBER = re.compile(r"[-+]?\d[\d.,]*")


def strict(answer: str, expected: Sequence[str]) -> bool:
    """Tell whether the answer, or what follows its last mark ("Answer:"), is one of `expected`."""
    said = final(answer)
    return any(_same(said, each) for each in expected)


def lenient(answer: str, expected: Sequence[str], prompt: str = "") -> bool:
    """Tell whether the answer says one of `expected` anywhere, denials apart."""
    return contains_answer(answer, expected, prompt)


def final(answer: str) -> str:
    """Return what follows the last mark of an answer, on that line; without a mark all of it."""
    marks = list(_MARK.finditer(answer))
    if not marks:
        return answer.strip(_FRAME)
    rest = answer[marks[-1].end() :].strip()
    return rest.split("\n", 1)[0].strip(_FRAME)


def _same(said: str, wanted: str) -> bool:
    wanted = wanted.strip(_FRAME) or wanted
    if fold(said) == fold(wanted):
        return True
    # "$29.00" is 29, and "4.0" is 4.
    numbers = all(_NUMBER.fullmatch(each.replace(" ", "")) for each in (said, wanted))
    return numbers and contains_answer(said, (wanted,))
