"""All SQL of ingest: rows, what stands behind them, data set versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from imece.runtime.artifacts import Stored
from imece.runtime.database import insert_new, upsert
from services.ingest import core, near, tables, taint
from services.ingest.admit import Admission, Known, Limits, Origin, admit
from services.ingest.tables import BANDS, DATASETS, ORIGINS, ROWS, VERSIONS

_IN = 5_000
"""Values in one IN list; SQLite takes 32,766."""


def take(
    connection: Connection,
    arrivals: Sequence[core.Arrival],
    keys: Mapping[str, near.Key],
    limits: Limits,
    now: float,
) -> dict[str, Origin]:
    """Write a batch in one transaction and return what became of each event, new or seen before.

    A set that ends closes at that place in the stream: what came before is in the version.
    """
    known = _known(connection, arrivals, keys)
    for part, end in core.segments(arrivals):
        seen = end is not None and end.key in known.origins
        _write(connection, admit(part, keys, known, limits), part, now)
        if end is not None and not seen:
            close(connection, end.dataset)
            _announce_newest(connection, end.dataset)
    return {arrival.key: known.origins[arrival.key] for arrival in arrivals}


def close(connection: Connection, dataset: str) -> int | None:
    """Assign the waiting rows to the next version, state `closing`; None when nothing changed.

    Everything that the version's bytes depend on is fixed here, so writing it can be repeated.
    """
    held = connection.execute(
        select(DATASETS).where(DATASETS.c.name == dataset).with_for_update()
    ).one_or_none()
    if held is None or not held.changed:
        return None
    number = held.version + 1
    waiting = and_(ROWS.c.dataset == dataset, ROWS.c.version.is_(None), ROWS.c.live)
    added = connection.execute(update(ROWS).where(waiting).values(version=number)).rowcount
    summary = _summary(connection, dataset)
    if added == 0 and summary["revoked"] == taint.left_out(connection, dataset, held.version):
        _set_dataset(connection, dataset, changed=False)
        return None
    connection.execute(
        insert(VERSIONS).values(
            dataset=dataset,
            version=number,
            state="closing",
            created=held.time,
            added=added,
            summary=summary,
            parts=[],
        )
    )
    _set_dataset(connection, dataset, changed=False, version=number)
    return int(number)


def close_due(
    connection: Connection, now: float, quiet: float, longest: float, rows: int
) -> list[tuple[str, int]]:
    """Close the sets that were quiet, have waited for too long or hold many rows."""
    waiting = (
        select(func.count())
        .where(ROWS.c.dataset == DATASETS.c.name, ROWS.c.version.is_(None), ROWS.c.live)
        .scalar_subquery()
    )
    due = or_(DATASETS.c.arrived <= now - quiet, DATASETS.c.since <= now - longest, waiting >= rows)
    names = connection.execute(
        select(DATASETS.c.name).where(DATASETS.c.changed, due).order_by(DATASETS.c.name)
    ).scalars()
    closed = [(name, close(connection, name)) for name in names.all()]
    return [(name, number) for name, number in closed if number is not None]


def closing(connection: Connection) -> list[tuple[str, int]]:
    """Return the versions that are not announced yet, parents first."""
    found = connection.execute(
        select(VERSIONS.c.dataset, VERSIONS.c.version)
        .where(VERSIONS.c.state == "closing")
        .order_by(VERSIONS.c.dataset, VERSIONS.c.version)
    )
    return [(row.dataset, row.version) for row in found]


def version(connection: Connection, dataset: str, number: int) -> tables.Version:
    """Return one version."""
    parent = VERSIONS.alias()
    before = select(parent.c.digest).where(
        parent.c.dataset == dataset, parent.c.version == number - 1
    )
    c = VERSIONS.c
    columns = (c.dataset, c.version, c.created, c.added, c.summary, c.digest, c.uri)
    found = connection.execute(
        select(*columns, before.scalar_subquery()).where(c.dataset == dataset, c.version == number)
    ).one()
    return tables.Version(*found)


def parts_before(connection: Connection, dataset: str, number: int) -> list[dict[str, Any]]:
    """Return the parts of all earlier versions, oldest first."""
    found = connection.execute(
        select(VERSIONS.c.parts)
        .where(VERSIONS.c.dataset == dataset, VERSIONS.c.version < number)
        .order_by(VERSIONS.c.version)
    ).scalars()
    return [part for parts in found for part in parts]


def rows_of(
    connection: Connection, dataset: str, number: int, after: str, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` rows that a version introduces, by `row_id`, beyond `after`."""
    found = connection.execute(
        select(ROWS)
        .where(ROWS.c.dataset == dataset, ROWS.c.version == number, ROWS.c.row_id > after)
        .order_by(ROWS.c.row_id)
        .limit(limit)
    )
    return [dict(row) for row in found.mappings()]


def written(
    connection: Connection, dataset: str, number: int, parts: list[dict[str, Any]], at: Stored
) -> None:
    """Keep where a version's manifest was written; the first write wins."""
    connection.execute(
        update(VERSIONS)
        .where(VERSIONS.c.dataset == dataset, VERSIONS.c.version == number)
        .where(VERSIONS.c.digest.is_(None))
        .values(parts=parts, digest=at.digest, uri=at.uri)
    )


def published(connection: Connection, dataset: str, number: int) -> None:
    """Mark a version as announced."""
    connection.execute(
        update(VERSIONS)
        .where(VERSIONS.c.dataset == dataset, VERSIONS.c.version == number)
        .values(state="published")
    )


def _known(
    connection: Connection, arrivals: Sequence[core.Arrival], keys: Mapping[str, near.Key]
) -> Known:
    """Load what is stored about a batch, its data sets locked."""
    _lock(connection, {arrival.dataset for arrival in arrivals if arrival.dataset})
    origins = {
        row.key: Origin(*row) for row in _in(connection, ORIGINS, "key", {a.key for a in arrivals})
    }
    held = {origin.row_id for origin in origins.values() if origin.row_id}
    # A revocation does not say which data set it is about; its row does.
    _lock(connection, {row.dataset for row in _in(connection, ROWS, "row_id", held)})
    bands = {band for key in keys.values() for band in key.bands}
    owners = {row.key: row.row_id for row in _in(connection, BANDS, "key", bands)}
    wanted = held | set(keys) | set(owners.values())
    rows = {row.row_id: tables.row_of(row) for row in _in(connection, ROWS, "row_id", wanted)}
    return Known(origins, rows, owners)


def _lock(connection: Connection, names: Collection[str]) -> None:
    """Keep other replicas from changing these data sets until the transaction ends."""
    insert_new(connection, DATASETS, [tables.new_dataset(name) for name in sorted(names)])
    chosen = select(DATASETS.c.name).where(DATASETS.c.name.in_(names))
    connection.execute(chosen.order_by(DATASETS.c.name).with_for_update()).all()


def _write(
    connection: Connection,
    admission: Admission,
    arrivals: Sequence[core.Arrival],
    now: float,
) -> None:
    insert_new(connection, ROWS, [tables.row_columns(row) for row in admission.rows])
    if admission.bands:
        bands = [{"key": key, "row_id": row_id} for key, row_id in admission.bands.items()]
        connection.execute(insert(BANDS), bands)
    upsert(
        connection, ORIGINS, [tables.origin_columns(o) for o in admission.origins.values()], ["key"]
    )
    changed = {row.new.dataset for row in admission.rows} | _revive(connection, admission.touched)
    time = max((arrival.time for arrival in arrivals), default="")
    for name in sorted(changed):
        first = DATASETS.c.changed.is_(False)
        mine = DATASETS.c.name == name
        connection.execute(update(DATASETS).where(mine, first).values(changed=True, since=now))
        connection.execute(update(DATASETS).where(mine).values(arrived=now))
        connection.execute(update(DATASETS).where(mine, DATASETS.c.time < time).values(time=time))


def _revive(connection: Connection, touched: Collection[str]) -> set[str]:
    """Make rows live that something stands behind, and no others; returns changed data sets."""
    before = {row.row_id: row for row in _in(connection, ROWS, "row_id", touched)}
    stands = exists().where(ORIGINS.c.row_id == ROWS.c.row_id, ORIGINS.c.live)
    for chunk in _chunks(touched):
        connection.execute(update(ROWS).where(ROWS.c.row_id.in_(chunk)).values(live=stands))
    after = _in(connection, ROWS, "row_id", touched)
    changed = [row for row in after if row.live != before[row.row_id].live]
    gone = [row.row_id for row in changed if not row.live]
    for chunk in _chunks(gone):
        connection.execute(delete(BANDS).where(BANDS.c.row_id.in_(chunk)))
    if gone:
        taint.check(connection)
    return {row.dataset for row in changed}


def _announce_newest(connection: Connection, dataset: str) -> None:
    """Answer the end of a set that changed nothing with the newest version, once more."""
    newest = select(DATASETS.c.version).where(DATASETS.c.name == dataset).scalar_subquery()
    connection.execute(
        update(VERSIONS)
        .where(VERSIONS.c.dataset == dataset, VERSIONS.c.version == newest)
        .values(state="closing")
    )


def _summary(connection: Connection, dataset: str) -> dict[str, Any]:
    held = and_(ROWS.c.dataset == dataset, ROWS.c.version.is_not(None))
    kinds: dict[str, int] = {}
    splits: dict[str, int] = {}
    for kind, split, count in connection.execute(
        select(ROWS.c.kind, ROWS.c.split, func.count())
        .where(held, ROWS.c.live)
        .group_by(ROWS.c.kind, ROWS.c.split)
        .order_by(ROWS.c.kind, ROWS.c.split)
    ):
        kinds[kind] = kinds.get(kind, 0) + count
        splits[split] = splits.get(split, 0) + count
    dead = select(ROWS.c.row_id).where(held, ROWS.c.live.is_(False)).order_by(ROWS.c.row_id)
    revoked = list(connection.execute(dead).scalars())
    return {"rows": sum(kinds.values()), "kinds": kinds, "splits": splits, "revoked": revoked}


def _in(connection: Connection, table: Table, column: str, values: Collection[Any]) -> list[Any]:
    return [
        row
        for chunk in _chunks(values)
        for row in connection.execute(select(table).where(table.c[column].in_(chunk)))
    ]


def _chunks(values: Collection[Any]) -> Iterable[list[Any]]:
    items = sorted(values)
    return (items[i : i + _IN] for i in range(0, len(items), _IN))


def _set_dataset(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(DATASETS).where(DATASETS.c.name == name).values(**values))
