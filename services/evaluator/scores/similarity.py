"""Cosine similarity of texts by their character 2- to 4-grams: works offline, in any language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from services.evaluator.scores.words import words

SIGNATURE = "char-tfidf:2-4"
_SIZES = (2, 3, 4)
Vector = Mapping[str, float]


class NgramVectors:
    """Vectors weighted by how rare a gram is among `texts`, usually a suite's references."""

    def __init__(self, texts: Iterable[str], language: str = "") -> None:
        self._language = language
        seen: Counter[str] = Counter()
        count = 0
        for text in texts:
            seen.update(set(self._grams(text)))
            count += 1
        self._rarest = math.log(1 + count) + 1
        self._weights = {gram: math.log((1 + count) / (1 + n)) + 1 for gram, n in seen.items()}

    def similarity(self, one: str, other: str) -> float:
        """Return the cosine from 0 to 1; a text without letters is like none."""
        left, right = self._vector(one), self._vector(other)
        norm = _length(left) * _length(right)
        if norm == 0:
            return 0.0
        small, large = sorted((left, right), key=len)
        return min(1.0, sum(x * large.get(gram, 0.0) for gram, x in small.items()) / norm)

    def _vector(self, text: str) -> Vector:
        grams = Counter(self._grams(text))
        return {
            gram: (1 + math.log(n)) * self._weights.get(gram, self._rarest)
            for gram, n in grams.items()
        }

    def _grams(self, text: str) -> Iterable[str]:
        for word in words(text, self._language):
            padded = f" {word} "
            for size in _SIZES:
                yield from (padded[i : i + size] for i in range(len(padded) - size + 1))


def _length(vector: Vector) -> float:
    return math.sqrt(sum(x * x for x in vector.values()))
