"""The guard's tables."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from imece.runtime.database import Database


def _add_times(connection: Connection) -> None:
    """Version 1: what had no time of its own counts as seen when the newest feedback was given."""
    for table in ("near", "refused", "cluster"):
        _add_time(connection, table, "at")
        connection.execute(text(f'CREATE INDEX ix_{table}_at ON {table} ("at")'))
    _add_time(connection, "cluster", "since")


def _add_time(connection: Connection, table: str, column: str) -> None:
    added = f'ALTER TABLE {table} ADD COLUMN "{column}" FLOAT NOT NULL DEFAULT 0'
    connection.execute(text(added))
    newest = '(SELECT coalesce(max("at"), 0) FROM decision)'
    connection.execute(text(f'UPDATE {table} SET "{column}" = {newest}'))


METADATA = MetaData(info={"migrations": (_add_times,)})
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
    Column("at", Float, nullable=False, server_default="0", index=True),
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
    Column("since", Float, nullable=False, server_default="0"),
    Column("at", Float, nullable=False, server_default="0", index=True),
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
FLAG = Table(
    "flag",
    METADATA,
    Column("feedback", Text, primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("flagged", Text, nullable=False),
)
NEAR = Table(
    "near",
    METADATA,
    Column("band", String(400), primary_key=True),
    Column("accounts", Text, nullable=False),
    Column("at", Float, nullable=False, server_default="0", index=True),
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
