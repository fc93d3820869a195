"""State in SQLite (one file a service) or PostgreSQL (one schema a service), by URL."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.schema import CreateSchema

from imece.errors import ConfigError, UnavailableError
from imece.runtime.migrations import migrate

P = ParamSpec("P")
T = TypeVar("T")
_BUSY_SECONDS = 30
_ROWS_A_STATEMENT = 500
_SQLITE = sqlite.dialect()


class Database:
    """One service's tables. `run` executes a function of a connection as one transaction."""

    def __init__(
        self, url: str, metadata: MetaData, schema: str, *, one_writer: bool = False
    ) -> None:
        """Remember where; nothing is opened before `open`.

        With `one_writer` a transaction is alone on PostgreSQL too, as it is on SQLite anyway: for
        services that read, decide and write back what their replicas share.
        """
        self.url = url
        self.metadata = metadata
        self.schema = schema.replace("-", "_")
        self._one_writer = one_writer
        self._engine: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Connect, bring the tables up to date; `UnavailableError` when the server is away."""
        self._thread = ThreadPoolExecutor(1, f"database-{self.schema}")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connect)

    async def close(self) -> None:
        """Finish the running transaction, then disconnect."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._thread = None

    async def __aenter__(self) -> Database:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, …)`` in one transaction on the database thread."""
        if self._thread is None:
            raise ConfigError(f"the database of {self.schema} is not open")
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self.transact(work, *args, **kwargs)
        )

    def transact(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, …)`` in one transaction here; `UnavailableError` to try again."""
        if self._engine is None:
            self._connect()
        assert self._engine is not None
        try:
            with self._engine.begin() as connection:
                return work(connection, *args, **kwargs)
        except (OperationalError, sqlite3.OperationalError) as error:
            raise UnavailableError(f"database {self._safe_url()}: {_cause(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise UnavailableError(f"database {self._safe_url()}: {_cause(error)}") from error
            raise

    def _connect(self) -> None:
        if self._engine is not None:
            return
        engine = _engine(self.url, self.schema)
        try:
            with engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    # Two replicas may start at once; the lock ends with the transaction.
                    connection.execute(text("SELECT pg_advisory_xact_lock(5016241)"))
                    connection.execute(CreateSchema(self.schema, if_not_exists=True))
                migrate(connection, self.metadata, self.schema)
        except (OperationalError, sqlite3.OperationalError) as error:
            raise UnavailableError(f"database {self._safe_url()}: {_cause(error)}") from error
        else:
            self._engine = engine
        finally:
            if self._engine is None:
                engine.dispose()
        if self._one_writer and engine.dialect.name == "postgresql":
            event.listen(engine, "begin", partial(_alone, schema=self.schema))

    def _safe_url(self) -> str:
        return make_url(self.url).render_as_string(hide_password=True)


_POSTGRESQL = {
    # Locks of a machine that is gone, or of a process that hangs, must not be held for hours.
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "5min",
}


def _engine(url: str, schema: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "IMECE_DATABASE is no URL such as postgresql+psycopg://user:password@host/name"
        ) from error
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")  # the driver that is installed
        options = " ".join(f"-c{name}={value}" for name, value in _POSTGRESQL.items())
        given = {"options": f"-csearch_path={schema} {options}", "connect_timeout": 10}
        return create_engine(parsed, connect_args=given, pool_pre_ping=True)
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError(f"IMECE_DATABASE: {parsed.get_backend_name()} is not supported")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # Keys are hashes, so every batch touches pages all over: keep them, and write them back rarely.
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA wal_autocheckpoint=8000")
    connection.execute("PRAGMA temp_store=MEMORY")


def _sqlite_begin(connection: Connection) -> None:
    # Take the write lock at once: a read that later writes could not wait for it.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _alone(connection: Connection, *, schema: str) -> None:
    # The lock ends with the transaction, also when its process dies.
    connection.execute(
        text("SELECT pg_advisory_xact_lock(5016242, hashtext(:schema))"), {"schema": schema}
    )


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: str = ""
) -> list[Any]:
    """Insert the rows whose unique keys are free; the first write wins.

    Returns the values of column `returning` of the rows that were inserted (empty without it).
    """
    if not returning:
        if rows:
            _execute_many(connection, _new(table, connection.dialect.name), rows)
        return []
    inserted: list[Any] = []
    for chunk in _chunks(rows):
        statement = (
            _insert(connection.dialect.name)(table).values(list(chunk)).on_conflict_do_nothing()
        )
        inserted.extend(connection.execute(statement.returning(table.c[returning])).scalars())
    return inserted


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: Sequence[str]
) -> None:
    """Insert the rows, or replace all their other columns where `key` is taken."""
    if rows:
        names = (tuple(rows[0]), tuple(key))
        _execute_many(connection, _replacing(table, connection.dialect.name, *names), rows)


def matching(connection: Connection, column: Column[Any], values: Iterable[str]) -> list[Any]:
    """Return the rows of a table whose text `column` is one of `values`, however many they are."""
    wanted = sorted(set(values))
    if not wanted:
        return []
    if connection.dialect.name == "postgresql":
        return [*connection.execute(_matching(column, "postgresql"), {"wanted": wanted}).all()]
    listed = json.dumps(wanted, ensure_ascii=False)
    return [*connection.execute(_matching(column, "sqlite"), {"wanted": listed}).all()]


# Statements are built once: building one costs as much as a hundred rows.
@lru_cache(maxsize=256)
def _matching(column: Column[Any], dialect: str) -> Select[Any]:
    if dialect == "postgresql":
        among = column == any_(bindparam("wanted", type_=ARRAY(Text)))
    else:
        values = func.json_each(bindparam("wanted", type_=Text)).table_valued("value")
        among = column.in_(select(values.c.value))
    return select(column.table).where(among)


@lru_cache(maxsize=256)
def _new(table: Table, dialect: str) -> Any:
    return _insert(dialect)(table).on_conflict_do_nothing()


@lru_cache(maxsize=256)
def _replacing(table: Table, dialect: str, names: tuple[str, ...], key: tuple[str, ...]) -> Any:
    statement = _insert(dialect)(table)
    others = {name: statement.excluded[name] for name in names if name not in key}
    if others:
        return statement.on_conflict_do_update(index_elements=list(key), set_=others)
    return statement.on_conflict_do_nothing()


def _execute_many(
    connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]
) -> None:
    # One statement with many parameter sets compiles once; many VALUES compile 20 times longer.
    if connection.dialect.name == "sqlite" and (direct := _direct(statement, tuple(rows[0]))):
        sql, values = direct
        connection.exec_driver_sql(sql, list(map(values, rows)))
    else:
        connection.execute(statement, [dict(row) for row in rows])


_Values = Callable[[Mapping[str, Any]], tuple[Any, ...]]


@lru_cache(maxsize=256)
def _direct(statement: Any, names: tuple[str, ...]) -> tuple[str, _Values] | None:
    """Return SQL for SQLite and what takes its values, in order, out of a row.

    SQLAlchemy's own work on each row cost as much as SQLite's. None: there are default values.
    """
    compiled = statement.compile(dialect=_SQLITE, column_keys=list(names))
    order = list(compiled.positiontup or ())
    if compiled.insert_prefetch or sorted(order) != sorted(names):
        return None
    types = {c.name: c.type.dialect_impl(_SQLITE) for c in statement.table.c}
    converts = {name: types[name].bind_processor(_SQLITE) or (lambda v: v) for name in order}
    return str(compiled), lambda row: tuple([converts[name](row[name]) for name in order])


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def _chunks(rows: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    return [rows[i : i + _ROWS_A_STATEMENT] for i in range(0, len(rows), _ROWS_A_STATEMENT)]


def _cause(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]
