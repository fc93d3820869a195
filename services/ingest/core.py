"""Pure decisions of ingest: what a row is, which split it belongs to, what a manifest says."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imece.events import (
    AdapterTrained,
    Envelope,
    FeedbackDecided,
    FeedbackRevoked,
    RecordSubmitted,
    derived_id,
)
from imece.events.records import Record

SCHEMA = 1
"""Layout of manifests and parts; a reader refuses others."""
TRAIN, VALIDATION, TEST = "train", "validation", "test"
EVALUATION = "evaluation-case"
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the clusters goes to validation and to test; the rest is for training."""

    validation: float = 0.05
    test: float = 0.05


@dataclass(frozen=True, slots=True)
class NewRow:
    """A record on its way in; `row_id` is the hash of the data set's name and the content."""

    row_id: str
    dataset: str
    kind: str
    record: str
    origin: str
    feedback: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event for ingest: a row to hold, or none any more, or the end of a set.

    `key` is the hash of (source, id) of the record or of the feedback; `version` counts the
    decisions about one feedback, records are always 0.
    """

    key: str
    dataset: str
    row: NewRow | None = None
    version: int = 0
    ends: bool = False
    revokes: bool = False
    time: str = ""


def from_record(event: Envelope[RecordSubmitted]) -> Arrival:
    """Return what a submitted record means."""
    data = event.data
    extra = {"license": data.license, "origin": data.origin}
    origin = {"source": event.source, "id": event.id, "user": None} | {
        name: text for name, text in extra.items() if text
    }
    row = None if data.record is None else new_row(data.record_set, data.record, origin)
    key = derived_id(event.source, event.id)
    return Arrival(key, data.record_set, row, ends=data.ends_set, time=_utc(event.time))


def from_decision(event: Envelope[FeedbackDecided]) -> Arrival:
    """Return what a verdict means: only accepted feedback holds a row."""
    data = event.data
    origin = {"source": data.feedback_source, "id": data.feedback, "user": data.user}
    row = None
    if data.row is not None and data.verdict == "accept":
        row = new_row(data.record_set, data.row, origin, feedback=True)
    key = derived_id(data.feedback_source, data.feedback, "feedback")
    return Arrival(key, data.record_set, row, data.version, time=_utc(event.time))


def from_revocation(event: Envelope[FeedbackRevoked]) -> Arrival:
    """Return what a revocation means; its data set is known from the earlier verdict."""
    data = event.data
    key = derived_id(data.feedback_source, data.feedback, "feedback")
    return Arrival(key, "", None, data.version, revokes=True, time=_utc(event.time))


def new_row(
    dataset: str, record: Record, origin: Mapping[str, Any], *, feedback: bool = False
) -> NewRow:
    """Return the row of `record`; equal content in one data set gives the same `row_id`."""
    content = canonical(record.model_dump(mode="json"))
    row_id = hashlib.sha256(f"{dataset}\x1f{content}".encode()).hexdigest()[:32]
    return NewRow(row_id, dataset, record.kind, content, canonical(origin), feedback)


def canonical(value: object) -> str:
    """Return JSON with sorted keys and NFC text: equal content gives equal text."""
    return json.dumps(_composed(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def subject(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return (text, answer): what a record is about and what it says about it.

    Near-duplicates have nearly the same text and exactly the same answer.
    """
    match record["kind"]:
        case "instruction":
            return _asked(record), record["response"]
        case "labelled":
            return record["text"], record["label"]
        case "preference":
            return _asked(record), f"{record['chosen']}\x1f{record['rejected']}"
        case "rated":
            return _asked(record), f"{record['response']}\x1f{record['desirable']}"
        case "evaluation-case":
            rest = {name: record[name] for name in record if name not in ("kind", "prompt")}
            return record["prompt"], canonical(rest)
        case _:
            return record["text"], ""


def _asked(record: Mapping[str, Any]) -> str:
    """Return a prompt with what was said before it; a row without a history has no such key."""
    turns = [turn["content"] for turn in record.get("history", ())]
    return "\n".join([*turns, record["prompt"]])


def cluster_id(text: str) -> str:
    """Return the name of the cluster that a (folded) text founds, the same in all data sets."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_of(cluster: str, kind: str, shares: Shares) -> str:
    """Return the split of a cluster, by hash: stable, and independent of the order of arrival."""
    if kind == EVALUATION:
        return TEST
    place = int.from_bytes(hashlib.sha256(f"split {cluster}".encode()).digest()[:8]) / 2**64
    if place < shares.test:
        return TEST
    return VALIDATION if place < shares.test + shares.validation else TRAIN


def segments(arrivals: Sequence[Arrival]) -> Iterable[tuple[Sequence[Arrival], Arrival | None]]:
    """Cut a batch behind every event that ends a set; yields (events, the one that ends)."""
    start = 0
    for index, arrival in enumerate(arrivals):
        if arrival.ends:
            yield arrivals[start : index + 1], arrival
            start = index + 1
    if start < len(arrivals):
        yield arrivals[start:], None


def manifest(
    dataset: str,
    version: int,
    *,
    parent: str | None,
    created: str,
    parts: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the manifest of a version: all parts up to it, and the rows taken out since.

    `summary` has `rows`, `kinds`, `splits` (without the rows taken out) and `revoked`.
    """
    return {
        "schema": SCHEMA,
        "dataset": dataset,
        "version": version,
        "parent": parent,
        "created": created,
        "parts": list(parts),
        "revoked": sorted(summary["revoked"]),
        "rows": summary["rows"],
        "kinds": dict(summary["kinds"]),
        "splits": dict(summary["splits"]),
    }


def folder(dataset: str, version: int) -> str:
    """Return where a version lies in the store; a data set's name may hold `/` and `..`."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", dataset)[:60]
    name_hash = hashlib.sha256(dataset.encode()).hexdigest()[:8]
    return f"datasets/{plain}-{name_hash}/v{version:06d}"


def record_set_of(key: str | None) -> str:
    """Return the record set that a record key names, or "unknown" when it cannot be one."""
    return key if key and re.fullmatch(r"[\w.:@/+-]{1,200}", key) else "unknown"


def printable(text: str) -> str:
    """Return `text` as an event may carry it: no control characters, at most 2,000 long."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def adapter_row(event: AdapterTrained) -> dict[str, Any] | None:
    """Return what is kept about an adapter; None when it has no digest to name it by.

    A whole model that came out of fine-tuning is kept by its own digest.
    """
    ref = event.ref
    digest = ref.adapter_digest if ref.adapter is not None else ref.base_digest
    if digest is None:
        return None
    datasets = [each.model_dump(mode="json") for each in event.datasets]
    return {"digest": digest, "model": event.model, "datasets": datasets}


def _composed(value: object) -> object:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {str(_composed(name)): _composed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_composed(item) for item in value]
    return value


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
