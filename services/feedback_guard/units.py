"""Convert units, or abstain: only what is defined exactly, English and Turkish."""

from __future__ import annotations

import re
from fractions import Fraction

from imece.runtime.text import fold, stemmed

_EXACT = {
    "length": {
        "mm milimetre millimeter millimetre": Fraction(1, 1000),
        "cm santimetre centimeter centimetre": Fraction(1, 100),
        "m metre meter": Fraction(1),
        "km kilometre kilometer": Fraction(1000),
        "inch inches inç": Fraction(254, 10_000),
        "foot feet ft": Fraction(3048, 10_000),
        "yard yarda": Fraction(9144, 10_000),
        "mile mil": Fraction(1_609_344, 1000),
    },
    "mass": {
        "mg miligram milligram": Fraction(1, 1000),
        "g gram": Fraction(1),
        "kg kilo kilogram": Fraction(1000),
        "ton tonne": Fraction(1_000_000),
    },
    "time": {
        "second saniye": Fraction(1),
        "minute dakika": Fraction(60),
        "hour saat": Fraction(3600),
        "day gün": Fraction(86_400),
        "week hafta": Fraction(604_800),
    },
    "volume": {
        "ml mililitre milliliter millilitre": Fraction(1, 1000),
        "cl santilitre": Fraction(1, 100),
        "l litre liter": Fraction(1),
    },
    "heat": {"celsius °c c santigrat": Fraction(0), "fahrenheit °f f": Fraction(0)},
}
_UNITS = {
    fold(word): (kind, size)
    for kind, sizes in _EXACT.items()
    for words, size in sizes.items()
    for word in words.split()
}
_PLURALS = {f"{w}s": u for w, u in _UNITS.items() if w.isascii() and len(w) > 3 and w[-1] != "s"}
_UNITS = {**_UNITS, **_PLURALS}
_CELSIUS = frozenset(fold("celsius °c c santigrat").split())
_N = r"(?P<n>-?\d+(?:[.,]\d+)?|an?|one|bir)"
_FROM = r"(?:degrees? |derece )?(?P<a>[^\W\d_]+?|°[cf])"
_TO = r"(?:degrees? )?(?P<b>[^\W\d_]+?|°[cf])"
_FORMS = (
    re.compile(rf"how many {_TO} (?:are (?:there )?)?(?:is |make )?(?:in )?{_N} ?{_FROM}"),
    re.compile(rf"(?:what is |what's |convert )?{_N} ?{_FROM} (?:to|in|into|as) {_TO}"),
    re.compile(rf"{_N} ?{_FROM} kaç {_TO}(?:d[iuü]r|t[iuü]r| eder| yapar)?"),
)
_SAID = re.compile(r"(-?\d+(?:[.,]\d+)?)(?: ?(?:degrees? |derece )?([^\W\d_]+|°[cf]))?")


def value(question: str) -> tuple[Fraction, str] | None:
    """Return what `question` asks to convert, in the unit that it names; None for others."""
    asked = stemmed(question).strip(" ?.!")
    found = next((m for form in _FORMS if (m := form.fullmatch(asked))), None)
    if found is None or found["a"] not in _UNITS or found["b"] not in _UNITS:
        return None
    amount = found["n"]
    number = _number(amount) if amount[-1].isdigit() else Fraction(1)
    (kind, size), (other, into) = _UNITS[found["a"]], _UNITS[found["b"]]
    if kind != other or number is None:
        return None
    if kind != "heat":
        return number * size / into, found["b"]
    return _heat(number, found["a"] in _CELSIUS, found["b"] in _CELSIUS), found["b"]


def checks(question: str, answer: str) -> bool | None:
    """Tell whether `answer` is the conversion asked for; None when it is not certain.

    An answer near the value may be rounded: it is neither confirmed nor refuted.
    """
    said = _SAID.fullmatch(fold(answer).strip(" .!?\"'"))
    number = _number(said[1]) if said else None
    if said is None or number is None or (asked := value(question)) is None:
        return None
    truth, unit = asked
    if said[2] is not None and _UNITS.get(said[2]) != _UNITS[unit]:
        return None
    if number == truth:
        return True
    return None if abs(number - truth) <= abs(truth) / 20 else False


def _heat(number: Fraction, celsius: bool, into: bool) -> Fraction:
    if celsius == into:
        return number
    return number * 9 / 5 + 32 if celsius else (number - 32) * 5 / 9


def _number(text: str) -> Fraction | None:
    if re.search(r"[.,]\d{3}$", text):
        return None  # 1,000 and 1.000 have two readings
    return Fraction(text.replace(",", "."))
