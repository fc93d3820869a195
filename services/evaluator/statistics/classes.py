"""Bootstrap of macro-F1, for one model and for two on the same items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from services.evaluator.statistics.intervals import Floats, cluster_index
from services.evaluator.statistics.paired import Difference, bootstrap_p, resample


def macro_f1_difference(
    gold: Sequence[int],
    candidate: Sequence[int],
    baseline: Sequence[int],
    labels: int,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two models' macro-F1 over `labels` fixed labels; -1 is an unparsed answer."""
    one, other = _quantities(gold, candidate, labels), _quantities(gold, baseline, labels)
    parts = np.concatenate([one, other], axis=1)
    counts = None
    if clusters is None:
        parts, counts = np.unique(parts, axis=0, return_counts=True)
        units = len(gold)
    else:
        at = cluster_index(clusters)
        units = int(at.max()) + 1
        parts = np.stack([np.bincount(at, weights=column) for column in parts.T], axis=1)
    drawn = resample(parts, counts, resamples, seed)
    half = one.shape[1]
    gains = _macro_f1(drawn[:, :half], labels) - _macro_f1(drawn[:, half:], labels)
    value = _macro_f1(one.sum(axis=0), labels) - _macro_f1(other.sum(axis=0), labels)
    low, high = np.quantile(gains, ((1 - level) / 2, (1 + level) / 2))
    p = bootstrap_p(gains)
    return Difference(
        float(value), float(low), float(high), p, len(gold), units, "cluster-bootstrap"
    )


def _quantities(gold: Sequence[int], said: Sequence[int], labels: int) -> Floats:
    """Return, an item a row, its hits by label, then how often the label is gold or said."""
    truth, answer = np.asarray(gold), np.asarray(said)
    rows = np.arange(truth.size)
    found = np.zeros((truth.size, 2 * labels))
    found[rows, labels + truth] += 1
    read = answer >= 0
    found[rows[read], labels + answer[read]] += 1
    hit = truth == answer
    found[rows[hit], truth[hit]] += 1
    return found


def _macro_f1(sums: Floats, labels: int) -> Floats:
    hits, sizes = sums[..., :labels], sums[..., labels:]
    scores = np.divide(2 * hits, sizes, out=np.zeros(hits.shape), where=sizes > 0)
    return np.asarray(scores.mean(axis=-1))
