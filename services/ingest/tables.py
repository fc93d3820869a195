"""The tables of ingest, and how its values become their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from services.ingest import core
from services.ingest.admit import Origin, Row

METADATA = MetaData()
DATASETS = Table(
    "dataset",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, nullable=False, default=0),
    Column("changed", Boolean, nullable=False, default=False),
    Column("since", Float, nullable=False, default=0.0),
    Column("arrived", Float, nullable=False, default=0.0),
    Column("time", String(40), nullable=False, default=""),
)
ROWS = Table(
    "data_row",
    METADATA,
    Column("row_id", String(32), primary_key=True),
    Column("dataset", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("split", String(12), nullable=False),
    Column("cluster", String(16), nullable=False),
    Column("origin", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("feedback", Boolean, nullable=False),
    Column("version", Integer),
    Column("live", Boolean, nullable=False),
    Index("row_of_version", "dataset", "version"),
)
ORIGINS = Table(
    "origin",
    METADATA,
    Column("key", String(36), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("row_id", String(32), index=True),
    Column("live", Boolean, nullable=False),
    Column("reason", String(200)),
    Column("message", Text, nullable=False),
)
BANDS = Table(
    "band",
    METADATA,
    Column(
        "key",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("row_id", String(32), nullable=False, index=True),
)
VERSIONS = Table(
    "version",
    METADATA,
    Column("dataset", String(200), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", String(12), nullable=False, index=True),
    Column("created", String(40), nullable=False),
    Column("added", Integer, nullable=False),
    Column("summary", JSON, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("digest", String(71)),
    Column("uri", Text),
)
ADAPTERS = Table(
    "adapter",
    METADATA,
    Column("digest", String(71), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("datasets", JSON, nullable=False),
    Column("revoked", Integer, nullable=False, default=0),
    Column("announced", Boolean, nullable=False, default=False),
)


@dataclass(frozen=True, slots=True)
class Version:
    """A data set version; `digest` and `uri` are None until its manifest is written."""

    dataset: str
    version: int
    created: str
    added: int
    summary: dict[str, Any]
    digest: str | None
    uri: str | None
    parent: str | None
    """Digest of the version before."""


@dataclass(frozen=True, slots=True)
class Tainted:
    """An adapter that learned `revoked` rows that were taken out since."""

    digest: str
    model: str
    datasets: list[dict[str, Any]]
    revoked: int


def new_dataset(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": 0,
        "changed": False,
        "since": 0.0,
        "arrived": 0.0,
        "time": "",
    }


def row_of(found: Any) -> Row:
    new = core.NewRow(
        found.row_id, found.dataset, found.kind, found.record, found.origin, found.feedback
    )
    return Row(new, found.cluster, found.split, found.live)


def row_columns(row: Row) -> dict[str, Any]:
    return {
        "row_id": row.new.row_id,
        "dataset": row.new.dataset,
        "kind": row.new.kind,
        "split": row.split,
        "cluster": row.cluster,
        "origin": row.new.origin,
        "record": row.new.record,
        "feedback": row.new.feedback,
        "version": None,
        "live": True,
    }


def origin_columns(origin: Origin) -> dict[str, Any]:
    return {
        "key": origin.key,
        "version": origin.version,
        "row_id": origin.row_id,
        "live": origin.live,
        "reason": origin.reason,
        "message": origin.message,
    }
