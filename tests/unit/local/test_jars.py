"""The lock, and both ways of fetching, against a repository on this machine with tiny files."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jgo.maven._core
import pytest

from imece.errors import ConfigError, UnavailableError
from imece.local import jars
from imece.local.java import Java

JAVA = Java(Path("/opt/jdk/bin/java"), 17)
COORDINATES = {"org.example:bir:1.0": b"first jar", "org.example:iki_2.13:4.3.1": b"second jar"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    rows = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in COORDINATES.items()]
    path.write_text("\n".join(["# a remark", *rows, ""]))
    return path


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository over HTTP that jgo takes for the central one; no mvn on the PATH."""
    root = tmp_path / "repository"
    for coordinate, data in COORDINATES.items():
        group, artifact, version = coordinate.split(":")
        folder = root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        (folder / f"{artifact}-{version}.jar").write_bytes(data)
    handler = functools.partial(QuietHandler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", url)
        monkeypatch.setenv("PATH", str(tmp_path))
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield root
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def fake_mvn(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_jgo_fetches_each_locked_jar_once(lock: Path, repository: Path, tmp_path: Path) -> None:
    said: list[str] = []
    libs = jars.ensure_jars(tmp_path / "cache", JAVA, said.append, lock)
    assert {path.name: path.read_bytes() for path in libs.iterdir()} == {
        "bir-1.0.jar": b"first jar",
        "iki_2.13-4.3.1.jar": b"second jar",
    }
    assert said[-1] == "fetching Kafka with jgo: 2 of 2 jars"
    assert [path.name for path in libs.parent.iterdir()] == ["libs"]
    said.clear()
    assert jars.ensure_jars(tmp_path / "cache", JAVA, said.append, lock) == libs
    assert said == []


def test_an_altered_download_is_refused_and_nothing_is_kept(
    lock: Path, repository: Path, tmp_path: Path
) -> None:
    next(repository.rglob("bir-1.0.jar")).write_bytes(b"evil")
    with pytest.raises(ConfigError, match=r"bir-1\.0\.jar has sha256"):
        jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)
    assert list((tmp_path / "cache" / f"kafka-{jars.KAFKA_VERSION}").iterdir()) == []


def test_a_jar_that_the_repository_lacks_is_named(
    lock: Path, repository: Path, tmp_path: Path
) -> None:
    next(repository.rglob("iki_*.jar")).unlink()
    with pytest.raises(UnavailableError, match=r"org\.example:iki_2\.13"):
        jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)


def test_maven_is_given_the_java_that_was_found(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        f'echo "$JAVA_HOME" > {tmp_path}/seen; for a; do case $a in -DoutputDirectory=*) '
        'd=${a#*=};; esac; done; mkdir -p "$d"; '
        'printf "first jar" > "$d/bir-1.0.jar"; printf "second jar" > "$d/iki_2.13-4.3.1.jar"'
    )
    fake_mvn(tmp_path / "bin", script, monkeypatch)
    libs = jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)
    assert len(list(libs.iterdir())) == 2
    assert (tmp_path / "seen").read_text().strip() == "/opt/jdk"


def test_the_first_error_of_maven_is_shown(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mvn(tmp_path / "bin", "echo '[ERROR] no route to host'; exit 1", monkeypatch)
    with pytest.raises(UnavailableError, match="no route to host"):
        jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)


def test_a_cached_folder_that_differs_from_the_lock_is_refused(
    lock: Path, repository: Path, tmp_path: Path
) -> None:
    libs = jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)
    (libs / "stowaway.jar").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"stowaway\.jar .* not in the lock"):
        jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)
    (libs / "stowaway.jar").unlink()
    (libs / "bir-1.0.jar").unlink()
    with pytest.raises(ConfigError, match=r"bir-1\.0\.jar is missing"):
        jars.ensure_jars(tmp_path / "cache", JAVA, lambda _: None, lock)


def test_a_cache_that_cannot_be_written_names_the_setting(lock: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="IMECE_CACHE"):
        jars.ensure_jars(tmp_path / "file", JAVA, lambda _: None, lock)


def test_the_committed_lock_holds_the_roots_of_the_pom() -> None:
    locked = {jar.coordinate: jar for jar in jars.read_lock()}
    roots = re.findall(
        r"<dependency>\s*<groupId>(.*?)</groupId>\s*<artifactId>(.*?)</artifactId>\s*"
        r"<version>(.*?)</version>",
        jars.POM.read_text(),
    )
    assert f"org.apache.kafka:kafka_2.13:{jars.KAFKA_VERSION}" in locked
    assert {":".join(root) for root in roots} <= locked.keys()
    assert len(roots) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in locked.values())
    assert len({jar.file for jar in locked.values()}) == len(locked)
