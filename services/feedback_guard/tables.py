"""The guard's tables."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text

from imece.runtime.database import Database

METADATA = MetaData()
ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", String(11), primary_key=True),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)
VOTE = Table(
    "vote",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("feedback", Text, nullable=False),
    Column("hard", String(40)),
    Column("changed", Float),
    sqlite_with_rowid=False,
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
    sqlite_with_rowid=False,
)
LEDGER = Table(
    "ledger",
    METADATA,
    Column("key", String(400), primary_key=True),
    Column("level", Float, nullable=False),
    Column("at", Float, nullable=False, index=True),
    sqlite_with_rowid=False,
)
CLUSTER = Table(
    "cluster",
    METADATA,
    Column("account", String(11), primary_key=True),
    Column("cluster", String(11), nullable=False, index=True),
    sqlite_with_rowid=False,
)
PANEL = Table(
    "panel",
    METADATA,
    Column("seat", String(220), primary_key=True),
    Column("tenant", String(200), nullable=False, index=True),
    Column("user", String(200), nullable=False),
    sqlite_with_rowid=False,
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
    sqlite_with_rowid=False,
)
AUDIT = Table(
    "audit",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("wrong", Integer, nullable=False),
    Column("at", Float, nullable=False, index=True),
)
HONEST = Table(
    "honest",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("segments", Text, nullable=False),
    Column("suspicion", Float, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("at", Float, nullable=False, index=True),
)
TESTED = Table(
    "tested",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("key", String(40), nullable=False, index=True),
    Column("answer", Text, nullable=False),
    Column("right", Integer),
    Column("told", Integer, nullable=False, index=True),
)
NEAR = Table(
    "near",
    METADATA,
    Column("band", String(400), primary_key=True),
    Column("accounts", Text, nullable=False),
    sqlite_with_rowid=False,
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
    Column("expires", Float),
    Column("cause", Text),
    Column("scored", Text, nullable=False),
    Column("decided", Text, nullable=False),
)
# Most decisions wait for nothing and were caused by nothing else: they are in neither index.
for _name in ("expires", "cause"):
    _held = DECISION.c[_name].is_not(None)
    Index(f"ix_decision_{_name}", DECISION.c[_name], sqlite_where=_held, postgresql_where=_held)
HISTORY = Table(
    "history",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("decided", Text, nullable=False),
)


def database(url: str) -> Database:
    """Return the guard's database: replicas and both stages share it, one writing at a time."""
    return Database(url, METADATA, "feedback-guard", one_writer=True)
