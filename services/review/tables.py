"""The tables of the review queue."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

ITEM = Table(
    "item",
    METADATA,
    Column("item", String(200), primary_key=True),
    Column("request", String(36), nullable=False, unique=True),
    Column("origin", String(20), nullable=False),
    Column("slice", String(200), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("inclusion", Float, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("answers", Integer, nullable=False),
    Column("gold", Integer),
    Column("state", String(20), nullable=False),
    Column("outcome", Integer),
    Column("traceparent", String(200)),
    Column("arrived", Float, nullable=False),
    Index("item_next", "state", "priority", "arrived"),
)
"""Every item that was ever named; those not asked are here too, since estimates need them."""

DETAIL = Table(
    "detail",
    METADATA,
    Column("item", String(200), primary_key=True),
    Column("answer", Text, nullable=False),
    Column("criterion", Text, nullable=False),
    Column("levels", Integer, nullable=False),  # 0 where nothing is rated
    Column("predicted", Float),
)
"""What only some items have: an answer to rate by one criterion, and what a judge expects."""

SLOT = Table(
    "slot",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("item", String(200), nullable=False),
    # 0, 1, … for the blind answers, the item's `answers` for the adjudicator, NULL for checks.
    Column("number", Integer),
    Column("state", String(20), nullable=False),
    Column("reviewer", String(200)),
    Column("again", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("leased", Float, nullable=False),
    Column("order", Text, nullable=False),
    Column("choice", Integer),
    Column("answered", Float),
    Column("announced", Boolean, nullable=False),
    UniqueConstraint("item", "number"),
    UniqueConstraint("item", "reviewer", "again"),
    Index("slot_of", "reviewer", "state"),
)
"""A place for one answer: free, leased or answered. As many as there are, no more can be given."""

SKIP = Table(
    "skip",
    METADATA,
    Column("item", String(200), primary_key=True),
    Column("reviewer", String(200), primary_key=True),
    Column("reason", String(40), nullable=False),
    Column("at", Float, nullable=False),
    Column("announced", Boolean, nullable=False),
)

REVIEWER = Table(
    "reviewer",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("token", String(64), unique=True),
    Column("adjudicator", Boolean, nullable=False),
)

SESSION = Table(
    "session",
    METADATA,
    Column("token", String(64), primary_key=True),
    Column("reviewer", String(200), nullable=False),
    Column("until", Float, nullable=False),
)

ENTRY = Table(
    "entry",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

HEAD = Table(
    "head",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""One row, the end of the log: whoever appends locks it."""
