"""Who gets in: a pure walk over a batch with what the database knows about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.ingest import core, near


@dataclass(frozen=True, slots=True)
class Limits:
    """Similarities from which a record is a near-duplicate, or of the same cluster."""

    duplicate: float = 0.9
    cluster: float = 0.7
    shares: core.Shares = field(default_factory=core.Shares)


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its place; `live` means that something still stands behind it."""

    new: core.NewRow
    cluster: str
    split: str
    live: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """What became of one record or feedback: the row that it stands behind, or why none."""

    key: str
    version: int
    row_id: str | None
    live: bool
    reason: str | None = None
    message: str = ""


@dataclass(slots=True)
class Known:
    """What is stored about a batch; `admit` adds to it what it decides."""

    origins: dict[str, Origin] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    """Row that first had a band."""


@dataclass(slots=True)
class Admission:
    """What to write: new rows and bands, fates of events, rows whose life may have changed."""

    rows: list[Row] = field(default_factory=list)
    bands: dict[int, str] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)


def admit(
    arrivals: Sequence[core.Arrival], keys: Mapping[str, near.Key], known: Known, limits: Limits
) -> Admission:
    """Decide about `arrivals` in order; events seen before change nothing."""
    result = Admission()
    for arrival in arrivals:
        old = known.origins.get(arrival.key)
        if old is not None and not _newer(arrival, old):
            continue
        if arrival.row is None:
            row_id = old.row_id if old else None
            origin = Origin(arrival.key, arrival.version, row_id, live=False)
        else:
            origin = _place(arrival, arrival.row, keys, known, limits=limits, result=result)
        result.touched.update(o.row_id for o in (old, origin) if o and o.row_id)
        result.origins[arrival.key] = known.origins[arrival.key] = origin
    return result


def _newer(arrival: core.Arrival, old: Origin) -> bool:
    tie = arrival.revokes and old.live and arrival.version == old.version
    return tie or arrival.version > old.version


def _place(
    arrival: core.Arrival,
    row: core.NewRow,
    keys: Mapping[str, near.Key],
    known: Known,
    *,
    limits: Limits,
    result: Admission,
) -> Origin:
    held = known.rows.get(row.row_id)
    if held is not None:
        # It stands behind the row too, so that revoking the first does not take it away.
        twice = held.live and not row.feedback
        message = f"the same content is in {row.dataset} already (row {row.row_id})"
        return Origin(
            arrival.key,
            arrival.version,
            row.row_id,
            True,
            "duplicate" if twice else None,
            message if twice else "",
        )
    key = keys[row.row_id]
    leader, refusal = _look_around(row, key, known, limits)
    if refusal is not None:
        return Origin(arrival.key, arrival.version, None, False, *refusal)
    cluster = leader.cluster if leader else core.cluster_id(key.text)
    split = core.split_of(cluster, row.kind, limits.shares)
    if leader is not None and row.kind != core.EVALUATION:
        split = leader.split
    placed = Row(row, cluster, split)
    known.rows[row.row_id] = placed
    result.rows.append(placed)
    for band in key.bands:
        if known.owners.setdefault(band, row.row_id) == row.row_id:
            result.bands[band] = row.row_id
    return Origin(arrival.key, arrival.version, row.row_id, live=True)


def _look_around(
    row: core.NewRow, key: near.Key, known: Known, limits: Limits
) -> tuple[Row | None, tuple[str, str] | None]:
    """Return the row whose cluster is joined, and (reason, message) when `row` stays out."""
    leader: Row | None = None
    ids = dict.fromkeys(known.owners[band] for band in key.bands if band in known.owners)
    for row_id in ids:
        other = known.rows[row_id]
        theirs = near.key_of(other.new.kind, other.new.record)
        if not near.together(key, theirs, limits.cluster):
            continue
        leader = leader or other
        if row.kind == core.EVALUATION and other.split != core.TEST:
            return leader, (
                "leaks_training_row",
                f"row {row_id} of {row.dataset} asks the same and is not in its test split",
            )
        if not row.feedback and _near_duplicate(row, key, other, theirs, limits):
            return leader, (
                "near_duplicate",
                f"row {row_id} of {row.dataset} says nearly the same with the same answer",
            )
    return leader, None


def _near_duplicate(
    row: core.NewRow, key: near.Key, other: Row, theirs: near.Key, limits: Limits
) -> bool:
    # A row that came from feedback may be revoked, so it keeps no record out.
    same = other.live and not other.new.feedback and row.kind == other.new.kind
    return same and key.answer == theirs.answer and near.similarity(key, theirs) >= limits.duplicate
