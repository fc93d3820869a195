"""Where a model comes from, and where a row or a user went: from events and data set manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imece.events import (
    AdapterTainted,
    AdapterTrained,
    DatasetRef,
    Envelope,
    ModelTrained,
    PromotionDecided,
)
from imece.runtime import shards
from imece.runtime.datasets import Row

Trained = AdapterTrained | ModelTrained
Rows = Callable[[DatasetRef], Sequence[Row]]
"""Reads a data set version, such as a cached `imece.runtime.datasets.read`."""


@dataclass(frozen=True)
class Known:
    """What the topics hold, oldest first."""

    trained: Sequence[Envelope[Trained]]
    decided: Sequence[Envelope[PromotionDecided]] = ()
    tainted: Sequence[Envelope[AdapterTainted]] = ()


def backward(model: str, known: Known, rows: Rows) -> list[dict[str, Any]]:
    """Return, for each time `model` was trained, newest first, all that went into it."""
    made = [event for event in known.trained if event.data.model == model]
    return [_origin(event, known, rows) for event in reversed(made)]


def forward(known: Known, rows: Rows, is_it: Callable[[Row], bool]) -> list[dict[str, Any]]:
    """Return the models that learned from rows for which `is_it` holds, oldest first.

    Those that only started from such a model are among them, with it as `through`.
    """
    found: list[dict[str, Any]] = []
    saw: set[str] = set()
    for event in known.trained:
        data, start = event.data, _start(event.data)
        where: list[dict[str, Any]] = [
            {"dataset": ref.dataset, "version": ref.version, "rows": seen, "through": None}
            for ref in data.datasets
            if (seen := [row.row_id for row in _learned(data, rows(ref)) if is_it(row)])
        ]
        if not where and start is not None and _place(start) in saw:
            where = [{"dataset": None, "version": None, "rows": [], "through": start}]
        if where and (whole := _whole(data)) is not None:
            saw.add(_place(whole))
        found += [{**_made(event, known), **each} for each in where]
    return found


def of_row(row_id: str) -> Callable[[Row], bool]:
    """Match a row by its id, or by the id of the record or feedback that brought it."""
    return lambda row: row_id in (row.row_id, row.origin.get("id"))


def of_user(user: str) -> Callable[[Row], bool]:
    """Match the rows that a user's feedback brought."""
    return lambda row: row.origin.get("user") == user


def _origin(event: Envelope[Trained], known: Known, rows: Rows) -> dict[str, Any]:
    data = event.data
    return {
        **_made(event, known),
        "base": _start(data),
        "recipe": data.recipe.model_dump(mode="json", exclude_none=True),
        "metrics": data.metrics,
        "datasets": [_contents(ref, _learned(data, rows(ref))) for ref in data.datasets],
    }


def _start(data: Trained) -> str | None:
    """Return what a model started from; older events of adapters say it in their reference only."""
    return data.base or (data.ref.base if isinstance(data, AdapterTrained) else None)


def _whole(data: Trained) -> str | None:
    """Return where the whole model that was made lies, None for an adapter."""
    if isinstance(data, ModelTrained):
        return data.uri
    return data.ref.base if data.ref.adapter is None else None


def _place(uri: str) -> str:
    """Return a folder's URI in the one way that compares."""
    return uri.partition("#")[0].removeprefix("file://")


def _contents(ref: DatasetRef, learned: Sequence[Row]) -> dict[str, Any]:
    feedback = [row for row in learned if row.origin.get("user")]
    return {
        "dataset": ref.dataset,
        "version": ref.version,
        "digest": ref.digest,
        "rows": len(learned),
        "sources": dict(Counter(str(row.origin.get("source")) for row in learned)),
        "feedback": sorted(str(row.origin.get("id")) for row in feedback),
        "users": dict(Counter(str(row.origin["user"]) for row in feedback)),
    }


def _made(event: Envelope[Trained], known: Known) -> dict[str, Any]:
    digest = artifact(event.data)
    verdicts = [d.data.verdict for d in known.decided if _digest(d.data) == digest]
    taints = [t.data.revoked for t in known.tainted if t.data.adapter_digest == digest]
    return {
        "model": event.data.model,
        "job": event.data.job,
        "digest": digest,
        "at": event.time.isoformat(timespec="seconds"),
        "verdict": verdicts[-1] if verdicts else None,
        "revoked_rows": taints[-1] if taints else 0,
    }


def artifact(trained: Trained) -> str | None:
    """Return the digest of what was trained: the adapter's, else the whole model's."""
    if isinstance(trained, ModelTrained):
        return trained.digest
    return trained.ref.adapter_digest or trained.ref.base_digest


def _digest(decision: PromotionDecided) -> str | None:
    return decision.candidate.adapter_digest or decision.candidate.base_digest


def _learned(data: Trained, rows: Iterable[Row]) -> list[Row]:
    without = data.without if isinstance(data, AdapterTrained) else None
    return [
        row
        for row in rows
        if row.split == "train" and not shards.is_left_out(row.origin.get("user"), without)
    ]
