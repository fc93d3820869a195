"""A real Kafka and all seven services for the length of a `with` block; nothing is left running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imece.errors import UnavailableError
from imece.events import SERVICES
from imece.local import kafka
from imece.runtime.artifacts import Artifacts


@dataclass(frozen=True)
class World:
    """Where the demo's system is."""

    home: Path
    cache: Path
    kafka: str
    kafka_ready_seconds: float
    process: subprocess.Popen[bytes]

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(str(self.home / "artifacts"))

    def check(self) -> None:
        """Raise when the services ended; says what they printed last."""
        if self.process.poll() is not None:
            raise UnavailableError(
                f"the services ended with {self.process.returncode}: {last_lines(self.home)}"
            )


@contextlib.contextmanager
def world(home: Path, cache: Path, services: tuple[str, ...] = SERVICES) -> Iterator[World]:
    """Start the embedded Kafka and the services under `home`; stop both at the end."""
    began = time.monotonic()
    broker = kafka.start(home, cache)
    ready = time.monotonic() - began
    environment = dict(os.environ, IMECE_HOME=str(home), IMECE_CACHE=str(cache))
    environment.pop("IMECE_KAFKA", None)
    try:
        with (home / "services.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services", *services],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield World(home, cache, broker.address, ready, process)
        finally:
            stop(process)
    finally:
        kafka.stop(home)


def wait_ready(world: World, seconds: float = 90) -> None:
    """Wait until every service says that it is ready; the error tells which is not, and why."""
    deadline = time.monotonic() + seconds
    answer = "no service answers yet"
    while time.monotonic() < deadline:
        world.check()
        for path in (world.home / "run").glob("*.json"):
            address = json.loads(path.read_text())["http"]
            try:
                urllib.request.urlopen(f"http://{address}/readyz", timeout=5).close()
            except urllib.error.HTTPError as error:
                answer = error.read().decode()
            except OSError as error:
                answer = str(error)
            else:
                return
        time.sleep(0.1)
    raise UnavailableError(f"not ready after {seconds:g} s: {answer}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started: politely, then for good."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(45)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(home: Path, count: int = 3) -> str:
    lines = (home / "services.log").read_text(errors="replace").splitlines()
    return " | ".join(lines[-count:])
