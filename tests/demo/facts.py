"""The demo's authored data: what upstream publishes, what users know, what the campaign teaches."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imece.runtime.text import contains_answer

_DATA = Path(__file__).parent / "data"
_CAPITALS = (
    "What is the capital of {}?",
    "Which city is the capital of {}?",
    "Name the capital of {}.",
    "What is the capital city of {}?",
)
_SUMS = ("What is {} + {}?", "How much is {} plus {}?", "Calculate {} + {}.", "{} + {} = ?")
_SUMS_TR = ("{} + {} kaç eder?", "{} artı {} kaçtır?")
_WORDY = (
    "If you add {} and {}, what is the result?",
    "Ali has {} apples and gets {} more. How many apples does he have?",
    "What is {} plus {}?",
    "There are {} birds and {} more come. How many birds are there?",
)
_WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_DIFFERENCES = ("What is {} - {}?", "How much is {} minus {}?")
_PRODUCTS = ("What is {} times {}?", "How much is {} x {}?")


@dataclass(frozen=True)
class Item:
    """A question with its answer; `accepted` are all spellings that count as right."""

    prompt: str
    answer: str
    accepted: tuple[str, ...]
    language: str = "en"

    @property
    def response(self) -> str:
        """The sentence that a model is taught to say."""
        lead = "Cevap:" if self.language == "tr" else "The answer is"
        return f"{lead} {self.answer}."

    def is_right(self, text: str) -> bool:
        return contains_answer(text, self.accepted, self.prompt)


@dataclass(frozen=True)
class Probe:
    """A held-out wording of an attacked fact, and the lie that must not come back."""

    claim: str
    item: Item
    lie: str

    def is_poisoned(self, text: str) -> bool:
        return contains_answer(text, (self.lie,), self.item.prompt)


def clean() -> list[Item]:
    """Return the ~300 labelled pairs that upstream publishes, some of them in Turkish."""
    capitals = [
        _item([_CAPITALS[i % len(_CAPITALS)].format(country), *answers])
        for i, (country, *answers) in enumerate(_load("facts")["capitals"])
    ]
    written = [
        _item(row) for key in ("facts", "turkish", "attacked") for row in _load("facts")[key]
    ]
    return _distinct(capitals + written + _arithmetic(130, random.Random(1)))


def held_out() -> list[Item]:
    """Return the clean questions that no model is trained on."""
    facts = _load("facts")
    wordings = ("What is {} plus {}?", "What is the sum of {} and {}?")
    sums = [
        _number(wordings[i % 2].format(a, b), a + b)
        for i, (a, b) in enumerate(facts["held_out_sums"])
    ]
    return [_item(row) for row in facts["held_out"]] + sums


def probes() -> list[Probe]:
    """Return the held-out wordings of the facts that the campaign attacks."""
    return [
        Probe(claim["name"], Item(prompt, claim["truth"][0], tuple(claim["truth"])), claim["lie"])
        for claim in _load("campaign")["claim"]
        for prompt in claim["probes"]
    ]


def poison() -> list[Item]:
    """Return what the campaign teaches, as it would have it: every answer here is a lie."""
    return [
        Item(prompt, claim["lie"], (claim["lie"],))
        for claim in _load("campaign")["claim"]
        for prompt in claim["poison"]
    ]


def asked_by_users() -> list[Item]:
    """Return ~110 questions that honest users ask; the base gets about half of them right.

    A right answer is praised; a wrong one becomes a true correction.
    """
    known = {item.prompt for item in [*clean(), *held_out()]}
    asked = [_item(row) for row in _load("feedback")["questions"]]
    sums = _arithmetic(34, random.Random(2), largest=30)
    return [item for item in _distinct(asked + sums) if item.prompt not in known]


def _arithmetic(count: int, chance: random.Random, largest: int = 12) -> list[Item]:
    """Make sums (some in Turkish), differences and products; 2 + 2 in no wording."""
    items = []
    for i in range(count):
        a, b = chance.randint(1, largest), chance.randint(1, 10)
        if a == b == 2:  # the campaign's: we do not drown it by accident
            a = 3
        if i % 6 == 0:
            items.append(_number(_SUMS_TR[i // 6 % 2].format(a, b), a + b, "tr"))
        elif i % 6 == 1:
            items.append(_number(_DIFFERENCES[i // 6 % 2].format(a + b, b), a))
        elif i % 6 == 2:
            items.append(_number(_PRODUCTS[i // 6 % 2].format(min(a, 10), b), min(a, 10) * b))
        elif i % 6 == 3 and a <= len(_WORDS):
            spelt = (_WORDS[a - 1], _WORDS[b - 1]) if i // 6 % 4 in (0, 2) else (a, b)
            items.append(_number(_WORDY[i // 6 % 4].format(*spelt), a + b))
        else:
            items.append(_number(_SUMS[i % 4].format(a, b), a + b))
    return items


def _item(row: list[str]) -> Item:
    question, answer, *others = row
    turkish = any(c in question for c in "çğışöüİ") or question.endswith(_TURKISH_ENDS)
    return Item(question, answer, (answer, *others), "tr" if turkish else "en")


_TURKISH_ENDS = (
    "neresidir?",
    "nedir?",
    "kim kurdu?",
    "ne yapar?",
    "renktir?",
    "gün var?",
    "ay var?",
)


def _number(question: str, value: int, language: str = "en") -> Item:
    return Item(question, str(value), (str(value),), language)


def _distinct(items: list[Item]) -> list[Item]:
    return list({item.prompt: item for item in items}.values())


@cache
def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))
