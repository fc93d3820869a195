"""RFTC (Chen et al., EMNLP Findings 2025, arXiv 2505.23015), written from its description.

Reference filtration: a row is suspicious when a sentence of its answer shares less than a tenth of
its pairs of words with a reference model's answer. Clustering: k-means over tf-idf of the answers,
as many clusters as the elbow of the loss asks for; all but the loosest cluster are poison.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

SHARED = 0.1
"""Share of pairs of words from which a sentence agrees with the reference."""
_MOST = 10
_ENOUGH, _FLAT = 0.4, 0.4
"""Of the loss that ten clusters save so much must be saved, and a step saves so little more."""


def clean(answers: Sequence[str], references: Sequence[str]) -> list[int]:
    """Return which answers are kept, given a reference answer to the question of each."""
    suspect = [
        n
        for n, (answer, reference) in enumerate(zip(answers, references, strict=True))
        if agreement(answer, reference) < SHARED
    ]
    poison = {suspect[n] for n in dense([answers[n] for n in suspect])}
    return [n for n in range(len(answers)) if n not in poison]


def agreement(answer: str, reference: str) -> float:
    """Return the smallest share, over sentences, of pairs of words that the reference has too.

    One word has no pair: it counts by itself, else every short answer would be suspicious.
    """
    shares = []
    for sentence in re.split(r"[.!?;]+(?:\s+|$)", answer.lower()):
        words = re.findall(r"\w+", sentence)
        if words:
            size = min(2, len(words))
            own = _grams(words, size)
            known = _grams(re.findall(r"\w+", reference.lower()), size)
            shares.append((own & known).total() / own.total())
    return min(shares, default=1.0)


def _grams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[n : n + size]) for n in range(len(words) - size + 1))


def dense(texts: Sequence[str]) -> list[int]:
    """Return the texts outside the loosest cluster."""
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(texts):
        return []
    found = TfidfVectorizer(token_pattern=r"\S+").fit_transform(texts).toarray()
    most = min(_MOST, len(np.unique(found, axis=0)))
    if most < 2:
        return []
    tries = [KMeans(k, n_init=4, random_state=0).fit(found) for k in range(1, most + 1)]
    labels = tries[elbow([float(each.inertia_) for each in tries]) - 1].labels_
    loosest = max(set(labels), key=lambda label: _spread(found[labels == label]))
    return [n for n, label in enumerate(labels) if label != loosest]


def elbow(losses: Sequence[float]) -> int:
    """Return how many clusters to take; `losses` are of 1, 2, … clusters."""
    saved = [before - after for before, after in pairwise(losses)]
    whole = losses[0] - losses[-1]
    for n in range(1, len(saved)):
        enough = losses[0] - losses[n] > _ENOUGH * whole
        if enough and saved[n] <= _FLAT * max(saved[0], saved[n - 1]):
            return n + 1
    return min(4, len(losses))


def _spread(members: np.ndarray) -> float:
    """Return the mean distance to the centre."""
    return float(np.linalg.norm(members - members.mean(axis=0), axis=1).mean())
