"""The guard starts on the tables of the release before it, and loses nothing of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text

from imece.runtime.database import Database
from services.feedback_guard import tables
from services.feedback_guard.replay import Guard
from tests.integration.postgres import fresh, postgresql  # noqa: F401 - a fixture
from tests.integration.test_guard_stores import crowd
from tests.unit.feedback_guard.policies import SHIPPED

CHANGED = {
    "near": "band VARCHAR(400) PRIMARY KEY, accounts TEXT NOT NULL",
    "cluster": "account VARCHAR(11) PRIMARY KEY, cluster VARCHAR(11) NOT NULL",
    "refused": "feedback TEXT PRIMARY KEY, decided TEXT NOT NULL",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return fresh(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path}/guard.db"


def back(connection: Connection) -> None:
    """Leave the tables as the release without versions made them, with what they held."""
    for name, columns in CHANGED.items():
        kept = ", ".join(column.split()[0] for column in columns.split(", "))
        connection.execute(text(f"CREATE TABLE old AS SELECT {kept} FROM {name}"))
        connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text(f"CREATE TABLE {name} ({columns})"))
        connection.execute(text(f"INSERT INTO {name} SELECT * FROM old"))
        connection.execute(text("DROP TABLE old"))
    connection.execute(text("CREATE INDEX ix_cluster_cluster ON cluster (cluster)"))
    connection.execute(text("INSERT INTO cluster VALUES ('a', 'a'), ('b', 'a')"))
    connection.execute(text("INSERT INTO refused VALUES ('bozuk', '{}')"))
    connection.execute(text("DROP TABLE schema_version"))


def test_tables_without_a_version_gain_times_and_keep_their_rows(url: str) -> None:
    events = crowd()
    before = Guard(SHIPPED, url).submit(events[:80])
    tables.database(url).transact(back)
    guard = Guard(SHIPPED, url)
    assert guard.submit(events[:80]) == before, "decided again instead of remembered"
    other = Guard(SHIPPED)
    other.submit(events[:80])
    assert guard.submit(events) == other.submit(events)
    kept = Database(url, tables.METADATA, "feedback-guard")
    newest = events[79].time.timestamp()
    found = kept.transact(lambda c: c.execute(select(tables.CLUSTER)).all())
    assert [tuple(row) for row in found] == [("a", "a", newest, newest), ("b", "a", newest, newest)]
    assert kept.transact(lambda c: c.execute(select(tables.REFUSED.c.at)).scalars().all()) == [
        newest
    ]
    for table in (tables.NEAR, tables.CLUSTER, tables.REFUSED):
        assert kept.transact(_indexes, table.name) == {index.name for index in table.indexes}


def _indexes(connection: Connection, table: str) -> set[str | None]:
    return {index["name"] for index in inspect(connection).get_indexes(table)}
