"""Which version a service's tables have, and the steps that bring older ones up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, inspect, select

from imece.errors import ConfigError

Migration = Callable[[Connection], None]
"""One step from a version to the next: it may only use tables and columns that version had."""
VERSION = Table(
    "schema_version",
    MetaData(),
    Column("service", String(60), primary_key=True),
    Column("version", Integer, nullable=False),
)


def migrations(metadata: MetaData) -> Sequence[Migration]:
    """Return the steps that a service has written into its tables' `info`, oldest first.

    The n-th leads from version n-1 to n; tables older than all steps have version 0.
    """
    return cast(Sequence[Migration], metadata.info.get("migrations", ()))


def migrate(connection: Connection, metadata: MetaData, service: str) -> None:
    """Bring a service's tables up to date, in the transaction of `connection`.

    The caller sees to it that no other process does the same at once. `ConfigError` when the
    tables are of a newer release: this one would read them wrongly.
    """
    steps = migrations(metadata)
    VERSION.create(connection, checkfirst=True)
    known = select(VERSION.c.version).where(VERSION.c.service == service)
    stored = connection.execute(known).scalar_one_or_none()
    version = _unversioned(connection, metadata, len(steps)) if stored is None else stored
    if version > len(steps):
        raise ConfigError(
            f"the tables of {service} have version {version}, this release knows {len(steps)}: "
            "start the newer release again, or restore the backup made before it"
        )
    for step in steps[version:]:
        step(connection)
    metadata.create_all(connection)
    if stored is None:
        connection.execute(VERSION.insert(), {"service": service, "version": len(steps)})
    elif stored != len(steps):
        changed = VERSION.update().where(VERSION.c.service == service)
        connection.execute(changed.values(version=len(steps)))


def _unversioned(connection: Connection, metadata: MetaData, newest: int) -> int:
    """Return the version of tables that tell none: the newest if there are none, else the first."""
    existing = set(inspect(connection).get_table_names())
    return 0 if existing & set(metadata.tables) else newest
