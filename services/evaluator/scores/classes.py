"""Figures of classification from confusion counts: all averages named, unparsed answers wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.evaluator.statistics.intervals import Floats


def confusion(gold: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> Floats:
    """Count (gold label, answered label); the last column is "unparsed".

    `ValueError` for a gold label that is not of the suite; a strange answer is unparsed.
    """
    at = {label: i for i, label in enumerate(labels)}
    if strange := sorted(set(gold) - set(at)):
        raise ValueError(f"labels outside the suite's set: {strange[:5]}")
    cells = np.zeros((len(labels), len(labels) + 1))
    for truth, answer in zip(gold, said, strict=True):
        cells[at[truth], len(labels) if answer is None else at.get(answer, len(labels))] += 1
    return cells


def figures(cells: Floats) -> dict[str, Floats]:
    """Return every figure of counts (…, label, label + 1), for many draws at once.

    A label that neither occurs nor is answered has F1 0. MCC and kappa are 0 where all is equal.
    """
    labels = cells.shape[-2]
    hits = np.diagonal(cells[..., :labels], axis1=-2, axis2=-1)
    wanted, said = cells.sum(axis=-1), cells.sum(axis=-2)
    named, total = said[..., :labels], cells.sum(axis=(-2, -1))
    precision, recall = _over(hits, named), _over(hits, wanted)
    f1 = _over(2 * hits, wanted + named)
    micro = _over(hits.sum(axis=-1), named.sum(axis=-1))
    share = _over(hits.sum(axis=-1), total)
    return {
        "precision_macro": precision.mean(axis=-1),
        "recall_macro": recall.mean(axis=-1),
        "macro_f1": f1.mean(axis=-1),
        "precision_micro": micro,
        "recall_micro": share,
        "f1_micro": _over(2 * hits.sum(axis=-1), total + named.sum(axis=-1)),
        "f1_weighted": _over((f1 * wanted).sum(axis=-1), total),
        "mcc": _mcc(hits, wanted, said, total),
        "kappa": _kappa(hits, wanted, named, total),
    }


def _mcc(hits: Floats, wanted: Floats, said: Floats, total: Floats) -> Floats:
    labels = wanted.shape[-1]
    together = hits.sum(axis=-1) * total - (wanted * said[..., :labels]).sum(axis=-1)
    spread = (total**2 - (said**2).sum(axis=-1)) * (total**2 - (wanted**2).sum(axis=-1))
    return _over(together, np.sqrt(np.maximum(spread, 0)))


def _kappa(hits: Floats, wanted: Floats, named: Floats, total: Floats) -> Floats:
    agreed = _over(hits.sum(axis=-1), total)
    chance = _over((wanted * named).sum(axis=-1), total**2)
    return _over(agreed - chance, 1 - chance)


def _over(above: Floats, below: Floats) -> Floats:
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)
