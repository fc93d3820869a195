"""A private PostgreSQL for the tests; a counted skip where its binaries are missing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

MISSING = "PostgreSQL is not installed: initdb is neither on the PATH nor in Debian's place"


def binaries() -> Path | None:
    """Return the folder of initdb and pg_ctl: on the PATH, else where Debian puts them."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    return folders[-1] if folders else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server of our own on a private port, gone with the tests."""
    folder = binaries()
    if folder is None:
        pytest.skip(MISSING)
    with server(folder) as url:
        yield url


def fresh(url: str) -> str:
    """Make an empty database on the server of `url` and return its URL."""
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run the binaries of `folder` on a port and data of their own; yield the URL."""
    # Not below pytest's folder: the server's user may not look into that.
    with tempfile.TemporaryDirectory(prefix="imece-pg-", ignore_cleanup_errors=True) as name:
        home, port = Path(name), _free_port()
        user = _give_away(home)
        _run(user, folder / "initdb", "-D", home / "data", "-U", "imece", "--auth=trust", "-N")
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
        control: list[str | Path] = [folder / "pg_ctl", "-D", home / "data", "-w"]
        _run(user, *control, "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://imece@127.0.0.1:{port}/postgres"
        finally:
            _run(user, *control, "-m", "immediate", "stop")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _give_away(home: Path) -> str | None:
    """Hand the folder to a user that is not root, which the server refuses to run as."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(home, user)
    return user


def _run(user: str | None, *command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
