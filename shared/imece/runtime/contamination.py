"""Finds test cases in training rows, before training, in any language.

A case is contaminated when a training row holds 13 of its words in a row, 50 of its characters in
a row, or, for a shorter case, all of its words. Case, marks, blanks and Unicode forms are ignored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from imece.events import (
    DatasetRef,
    Document,
    EvaluationCase,
    LabelledExample,
    PreferencePair,
    Record,
)
from imece.runtime import datasets
from imece.runtime.artifacts import Artifacts
from imece.runtime.text import fold

WORDS = 13
CHARACTERS = 50
FEW = 4
"""Cases of fewer words ("2+2?") are found only where they are the whole of a training prompt."""
By: TypeAlias = Literal["words", "characters", "whole"]
_BLOCK = CHARACTERS // 2
_STEP = CHARACTERS - _BLOCK + 1  # so that 50 equal characters hold one whole block
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Hit:
    """One case that a training row gives away, and how it was noticed."""

    case: str
    row: str
    by: By


def question_of(record: Record) -> str | None:
    """Return the text of an evaluation case or labelled example that must not be trained on."""
    if isinstance(record, EvaluationCase):
        return record.expected[0] if record.scoring == "bits" else record.prompt
    return record.text if isinstance(record, LabelledExample) else None


def taught(record: Record) -> tuple[str, str]:
    """Return all that a row shows to a model, as a prompt and a response."""
    if isinstance(record, LabelledExample):
        return record.text, record.label
    if isinstance(record, Document):
        return "", record.text
    if isinstance(record, EvaluationCase):
        return record.prompt, "\n".join(record.expected)
    asked = "\n".join([*(turn.content for turn in record.history), record.prompt])
    if isinstance(record, PreferencePair):
        return asked, f"{record.chosen}\n{record.rejected}"
    return asked, record.response


def training_rows(
    artifacts: Artifacts, refs: Iterable[DatasetRef], kinds: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    """Read the training rows of data sets as (id, prompt, response). RejectedError: unreadable."""
    for ref in refs:
        for row in datasets.stream(artifacts, ref, kinds, "train"):
            yield (row.row_id, *taught(row.record))


def find(cases: Mapping[str, str], rows: Iterable[tuple[str, str, str]]) -> list[Hit]:
    """Return each contaminated case once, in order; rows are (id, prompt, response)."""
    index = _Index(cases)
    found: dict[str, Hit] = {}
    for row, prompt, response in rows:
        for case, by in index.hits(prompt, response):
            found.setdefault(case, Hit(case, row, by))
    return [found[case] for case in cases if case in found]


class _Index:
    def __init__(self, cases: Mapping[str, str]) -> None:
        self._grams: dict[int, dict[tuple[str, ...], set[str]]] = defaultdict(dict)
        self._whole: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._blocks: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._text: dict[str, str] = {}
        for case, text in cases.items():
            self._add(case, _words(text))

    def _add(self, case: str, words: Sequence[str]) -> None:
        self._whole[tuple(words)].add(case)
        if len(words) >= FEW:
            size = min(WORDS, len(words))
            for gram in _windows(words, size):
                self._grams[size].setdefault(gram, set()).add(case)
        text = self._text[case] = " ".join(words)
        for at in range(0, len(text) - _BLOCK + 1, _STEP):
            self._blocks[text[at : at + _BLOCK]].append((case, at))

    def hits(self, prompt: str, response: str) -> Iterable[tuple[str, By]]:
        asked = _words(prompt)
        words = [*asked, *_words(response)]
        for case in self._whole.get(tuple(asked), ()):
            yield case, "whole"
        for size, grams in self._grams.items():
            for gram in _windows(words, size):
                for case in grams.get(gram, ()):
                    yield case, "words"
        text = " ".join(words)
        for at in range(len(text) - _BLOCK + 1):
            for case, there in self._blocks.get(text[at : at + _BLOCK], ()):
                if _common(text, at, self._text[case], there) >= CHARACTERS:
                    yield case, "characters"


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _windows(words: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def _common(one: str, at: int, other: str, there: int) -> int:
    """Return how long the equal stretch is around two places that agree."""
    before = 0
    while at > before and there > before and one[at - before - 1] == other[there - before - 1]:
        before += 1
    after = _BLOCK
    while (
        at + after < len(one)
        and there + after < len(other)
        and one[at + after] == other[there + after]
    ):
        after += 1
    return before + after
