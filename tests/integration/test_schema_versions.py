"""Tables of older releases are brought up to date, those of newer ones are left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, inspect, select, text

from imece.errors import ConfigError
from imece.runtime.database import Database
from imece.runtime.migrations import VERSION, Migration
from tests.integration.postgres import fresh, postgresql  # noqa: F401 - a fixture


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return fresh(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path}/service.db"


def add_size(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0"))


def measure(connection: Connection) -> None:
    connection.execute(text("UPDATE thing SET size = length(name)"))


def metadata(*steps: Migration, sized: bool = True) -> MetaData:
    """Return a service's tables with the steps that led to them."""
    found = MetaData(info={"migrations": steps})
    more = [Column("size", Integer, nullable=False, server_default="0")] if sized else []
    Table("thing", found, Column("name", String(20), primary_key=True), *more)
    if sized:
        Table("other", found, Column("name", String(20), primary_key=True))
    return found


def version(connection: Connection) -> list[tuple[str, int]]:
    return [tuple(row) for row in connection.execute(select(VERSION))]


def things(connection: Connection) -> list[tuple[str, int]]:
    return [tuple(row) for row in connection.execute(text("SELECT name, size FROM thing"))]


def old(url: str) -> None:
    """Leave a database as releases made it that knew no versions."""
    made = Database(url, metadata(sized=False), "shop")
    made.transact(lambda c: c.execute(text("INSERT INTO thing VALUES ('kalem')")))
    made.transact(lambda c: VERSION.drop(c))


def test_tables_without_a_version_take_every_step_once(url: str) -> None:
    old(url)
    for _ in range(2):
        opened = Database(url, metadata(add_size, measure), "shop")
        assert opened.transact(things) == [("kalem", 5)]
        assert opened.transact(version) == [("shop", 2)]
        assert opened.transact(lambda c: inspect(c).has_table("other"))
        opened.transact(lambda c: c.execute(text("UPDATE thing SET size = 5")))


def test_a_versioned_database_takes_only_the_steps_that_it_lacks(url: str) -> None:
    old(url)
    Database(url, metadata(add_size), "shop").transact(version)
    opened = Database(url, metadata(add_size, measure), "shop")
    assert opened.transact(things) == [("kalem", 5)]


def test_new_tables_are_of_the_newest_version_and_take_no_step(url: str) -> None:
    opened = Database(url, metadata(add_size, measure), "shop")
    assert opened.transact(version) == [("shop", 2)]
    assert opened.transact(things) == []


def test_tables_of_a_newer_release_are_refused_and_left_alone(url: str) -> None:
    Database(url, metadata(add_size, measure), "shop").transact(version)
    with pytest.raises(ConfigError, match="tables of shop have version 2, this release knows 1"):
        Database(url, metadata(add_size), "shop").transact(version)
    assert Database(url, metadata(add_size, measure), "shop").transact(version) == [("shop", 2)]


def test_a_step_that_fails_leaves_everything_as_it_was(url: str) -> None:
    old(url)

    def broken(_: Connection) -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        Database(url, metadata(add_size, broken), "shop").transact(version)
    opened = Database(url, metadata(add_size, measure), "shop")
    assert opened.transact(things) == [("kalem", 5)]


def test_replicas_that_start_at_once_take_every_step_once(url: str) -> None:
    old(url)
    failed: list[BaseException] = []

    def start(ask: Callable[[Connection], object]) -> None:
        try:
            Database(url, metadata(add_size, measure), "shop").transact(ask)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(version,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
