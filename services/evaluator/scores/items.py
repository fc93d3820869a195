"""The text scores that cases ask for, an item at a time; aggregates are made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.evaluator.core import Item
from services.evaluator.scores import overlap, translation
from services.evaluator.scores.similarity import NgramVectors

LONGEST = 20_000
"""Characters; alignments of longer answers would take minutes, so those are not scored."""
TOO_LONG = "too_long"
_Score = Callable[[str, str, str], float]
_OF_PAIR: dict[str, _Score] = {
    "rouge1": lambda said, wanted, language: overlap.rouge_n(said, wanted, 1, language),
    "rouge2": lambda said, wanted, language: overlap.rouge_n(said, wanted, 2, language),
    "rougeL": overlap.rouge_l,
    "rougeLsum": overlap.rouge_lsum,
}


def scored(items: Sequence[Item]) -> list[Item]:
    """Return the items with the scores they ask for.

    A too long answer gets none. The wanted texts of a suite's items in one language weigh the
    grams of `cosine`.
    """
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
            found[name] = max(of(item.answer, each, item.language) for each in item.expected)
        elif name == "f1":
            found[name] = overlap.token_f1(item.answer, item.expected, item.language)
        elif name == "cosine" and vectors is not None:
            found[name] = max(vectors.similarity(item.answer, each) for each in item.expected)
        elif name in ("bleu", "chrf", "ter"):
            kind: translation.Kind = name  # type: ignore[assignment]
            found[name] = translation.of_item(kind, item.answer, item.expected)
    return found
