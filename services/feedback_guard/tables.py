"""The guard's tables."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text

METADATA = MetaData()
ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", String(11), primary_key=True),
    Column("state", Text, nullable=False),
)
VOTE = Table(
    "vote",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("feedback", Text, nullable=False),
    Column("hard", String(40)),
    Column("changed", Float),
)
REFUSED = Table(
    "refused",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("decided", Text, nullable=False),
)
CLAIM = Table(
    "claim",
    METADATA,
    Column("id", String(24), primary_key=True),
    Column("answers", Text, nullable=False),
)
LEDGER = Table(
    "ledger",
    METADATA,
    Column("key", String(400), primary_key=True),
    Column("level", Float, nullable=False),
    Column("at", Float, nullable=False, index=True),
)
CLUSTER = Table(
    "cluster",
    METADATA,
    Column("account", String(11), primary_key=True),
    Column("cluster", String(11), nullable=False, index=True),
)
PANEL = Table(
    "panel",
    METADATA,
    Column("seat", String(220), primary_key=True),
    Column("tenant", String(200), nullable=False, index=True),
    Column("user", String(200), nullable=False),
)
ASK = Table(
    "ask",
    METADATA,
    Column("key", String(60), primary_key=True),
    Column("feedback", Text, nullable=False),
    Column("invited", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("due", Float, nullable=False, index=True),
    Column("cause", Text, nullable=False),
)
REFERENCE = Table(
    "reference",
    METADATA,
    Column("claim", String(24), primary_key=True),
    Column("answer", Text, nullable=False),
)
AUDIT = Table(
    "audit",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("wrong", Integer, nullable=False),
    Column("at", Float, nullable=False, index=True),
)
NEAR = Table(
    "near",
    METADATA,
    Column("band", String(400), primary_key=True),
    Column("accounts", Text, nullable=False),
)
DECISION = Table(
    "decision",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("claim", String(24), nullable=False, index=True),
    Column("user", String(11), nullable=False, index=True),
    Column("at", Float, nullable=False, index=True),
    Column("verdict", String(12), nullable=False),
    Column("version", Integer, nullable=False),
    Column("expires", Float, index=True),
    Column("cause", Text, index=True),
    Column("scored", Text, nullable=False),
    Column("decided", Text, nullable=False),
)
HISTORY = Table(
    "history",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("decided", Text, nullable=False),
)
