"""The text scores that cases ask for, an item at a time; aggregates are made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from services.evaluator.core import Item
from services.evaluator.scores import overlap, translation
from services.evaluator.scores.similarity import NgramVectors

LONGEST = 20_000
"""Characters; alignments of longer answers would take minutes, so those are not scored."""
TOO_LONG = "too_long"
_Score = Callable[..., float]
_OF_PAIR: dict[str, _Score] = {
    "rouge1": partial(overlap.rouge_n, n=1),
    "rouge2": partial(overlap.rouge_n, n=2),
    "rougeL": overlap.rouge_l,
    "rougeLsum": overlap.rouge_lsum,
    "rouge1_stem": partial(overlap.rouge_n, n=1, stemmed=True),
    "rouge2_stem": partial(overlap.rouge_n, n=2, stemmed=True),
    "rougeL_stem": partial(overlap.rouge_l, stemmed=True),
}


class Encodes(Protocol):
    """What compares texts by meaning; `name` says which model, for signatures."""

    @property
    def name(self) -> str: ...
    def similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]: ...


def scored(items: Sequence[Item], encoder: Encodes | None = None) -> list[Item]:
    """Return the items with the scores they ask for.

    A too long answer gets none. Without an encoder the wanted texts of a suite's items in one
    language weigh the grams of `cosine`; with one, `cosine@<its name>` stands in their place.
    """
    found = _scored(items)
    return found if encoder is None else _encoded(found, encoder)


def _encoded(items: list[Item], encoder: Encodes) -> list[Item]:
    asked = [item for item in items if "cosine" in item.scores]
    pairs = [(item.answer, wanted) for item in asked for wanted in item.expected]
    values = iter(encoder.similarities(pairs))
    best = {item.id: max(next(values) for _ in item.expected) for item in asked}
    return [
        _recast(item, encoder.name, best[item.id]) if item.id in best else item for item in items
    ]


def _recast(item: Item, name: str, value: float) -> Item:
    rest = {key: score for key, score in item.scores.items() if key != "cosine"}
    return replace(item, scores=rest | {f"cosine@{name}": value})


def _scored(items: Sequence[Item]) -> list[Item]:
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        if "cosine" in item.metrics:
            wanted[item.suite, item.language] += item.expected
    vectors = {key: NgramVectors(texts, key[1]) for key, texts in wanted.items()}
    return [
        replace(item, scores=_scores(item, vectors.get((item.suite, item.language))))
        if item.metrics and item.graded and len(item.answer) <= LONGEST
        else item
        for item in items
    ]


def _scores(item: Item, vectors: NgramVectors | None) -> dict[str, float]:
    found = {}
    for name in item.metrics:
        if name in _OF_PAIR:
            of = _OF_PAIR[name]
            found[name] = max(
                of(item.answer, each, language=item.language) for each in item.expected
            )
        elif name == "f1":
            found[name] = overlap.token_f1(item.answer, item.expected, item.language)
        elif name == "cosine" and vectors is not None:
            found[name] = max(vectors.similarity(item.answer, each) for each in item.expected)
        elif name in ("bleu", "chrf", "ter"):
            kind: translation.Kind = name  # type: ignore[assignment]
            found[name] = translation.of_item(kind, item.answer, item.expected)
    return found
