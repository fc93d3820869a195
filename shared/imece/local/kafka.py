"""A real single-node Apache Kafka on this machine, started from jars: start, stop, status.

Everything lives in ``<home>/kafka``: ``state.json`` says where the broker listens and which
process it is, ``data`` is what survives, ``broker.log`` is what it said.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imece.errors import ConfigError, UnavailableError
from imece.local import broker_files, probe, process
from imece.local.jars import KAFKA_VERSION, Say, ensure_jars
from imece.local.java import Java, find_java

_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Broker:
    """What the state file knows; pid 0 means that it was stopped and keeps its ports."""

    port: int
    controller_port: int
    pid: int = 0
    started: str = ""
    java: str = ""
    version: str = KAFKA_VERSION

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether this very process still runs, and not one that was given its number later."""
        return self.pid > 0 and process.started(self.pid) == self.started


def start(
    home: Path,
    cache: Path,
    *,
    port: int | None = None,
    java: Path | None = None,
    timeout: float = 60.0,
    say: Say = lambda _: None,
) -> Broker:
    """Start the broker of `home` unless it runs, and wait until its metadata names a controller.

    A restart uses the port of the time before, unless another process took it; `timeout` is in
    seconds and does not count fetching. Raises ConfigError for a Java, jar or port that is not
    usable and UnavailableError, with the broker's last words, when it does not come up.
    """
    folder = home.absolute() / "kafka"
    with _locked(folder):
        before = _read(folder)
        if before and before.alive:
            if port not in (None, before.port):
                raise ConfigError(
                    f"Kafka of {home} already runs on port {before.port}, not {port}: stop it first"
                )
            _wait(before, folder, timeout)
            return before
        (folder / "tmp").mkdir(exist_ok=True)
        runtime = find_java(java)
        libs = ensure_jars(cache.absolute(), runtime, say)
        broker = replace(_ports(before, port), java=str(runtime.path))
        _format(folder, libs, runtime, broker, say)
        say(f"starting Kafka {KAFKA_VERSION} on {broker.address}")
        return _launch(folder, libs, runtime, broker, timeout)


def stop(home: Path, *, grace: float = 30.0) -> bool:
    """Stop the broker of `home` with SIGTERM, after `grace` seconds SIGKILL; False if none ran."""
    folder = home.absolute() / "kafka"
    if not folder.exists():
        return False
    with _locked(folder):
        broker = _read(folder)
        if broker is None:
            return False
        stopped = process.end(broker.pid, broker.started, grace) if broker.pid else False
        _write(folder, replace(broker, pid=0, started=""))
        return stopped


def status(home: Path) -> Broker | None:
    """Return the running broker of `home`, or None; it may still be starting."""
    broker = _read(home.absolute() / "kafka")
    return broker if broker and broker.alive else None


def bootstrap(home: Path, kafka: str | None) -> str:
    """Return the address to connect to: `kafka` where it is set, else the running broker's.

    Raises ConfigError when neither exists.
    """
    if kafka:
        return kafka
    broker = status(home)
    if broker is None:
        raise ConfigError(
            f"no Kafka runs for {home}: run `imece kafka start` or set IMECE_KAFKA=host:port"
        )
    return broker.address


def _launch(folder: Path, libs: Path, java: Java, broker: Broker, timeout: float) -> Broker:
    shutil.rmtree(folder / "tmp", ignore_errors=True)  # native libraries of a killed broker
    (folder / "tmp").mkdir()
    heap = ["-Xms128m", "-Xmx400m", "-XX:+ExitOnOutOfMemoryError"]
    command = _java(folder, libs, java, heap, ["kafka.Kafka", str(folder / "server.properties")])
    pid = _spawn(command, folder / "broker.out")
    running = replace(broker, pid=pid, started=process.started(pid) or "")
    try:
        _write(folder, running)
        _wait(running, folder, timeout)
    except BaseException:
        process.end(pid, running.started, grace=5)
        _write(folder, broker)
        raise
    return running


def _java(folder: Path, libs: Path, java: Java, flags: list[str], main: list[str]) -> list[str]:
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
    paths = {
        "java.io.tmpdir": folder / "tmp",
        "kafka.logs.dir": folder,
        "log4j2.configurationFile": (folder / "log4j2.properties").as_uri(),
    }
    properties = [f"-D{key}={value}" for key, value in paths.items()]
    return [str(java.path), *flags, *quick, *properties, "-cp", f"{libs}/*", *main]


def _environment() -> dict[str, str]:
    """The caller's environment; the locale decides whether Java can open a non-ASCII path."""
    return dict(os.environ) | {"LC_ALL": "C.UTF-8"}  # noqa: TID251


def _spawn(command: list[str], out: Path) -> int:
    """Start in a session of its own: Ctrl-C in our terminal must not reach the broker.

    Not Popen: its objects complain when they are dropped while the process lives on.
    """
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.posix_spawn(
        command[0],
        command,
        _environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(out), write, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )


def _format(folder: Path, libs: Path, java: Java, broker: Broker, say: Say) -> None:
    """Write the properties for these ports and, once, the storage: `data` exists = formatted."""
    data, fresh = folder / "data", folder / "data.new"
    if not data.exists():
        say("formatting the storage of Kafka")
        shutil.rmtree(fresh, ignore_errors=True)
        properties = broker_files.write(folder, fresh, broker.port, broker.controller_port)
        # With "=", since an id may begin with a dash, which the tool would take for an option.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}"]
        _run(_java(folder, libs, java, ["-Xmx128m"], [*tool, "--config", str(properties)]), folder)
        fresh.rename(data)
    broker_files.write(folder, data, broker.port, broker.controller_port)


def _run(command: list[str], folder: Path) -> None:
    try:
        run = subprocess.run(
            command, env=_environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"formatting {folder} took more than 60 s: try again") from error
    if run.returncode != 0:
        words = "\n".join((run.stdout + run.stderr).splitlines()[-_LOG_LINES:])
        raise UnavailableError(f"cannot format the storage of Kafka in {folder}:\n{words}")


def _wait(broker: Broker, folder: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while probe.controller(broker.address) is None:
        late = time.monotonic() > deadline
        if late or not broker.alive:
            what = f"did not answer within {timeout:g} s" if late else "ended while starting"
            raise UnavailableError(f"Kafka on {broker.address} {what}:\n{_last_words(folder)}")
        time.sleep(0.05)


def _last_words(folder: Path) -> str:
    """Tail of what the JVM printed (its own failures) and of the log (Kafka's)."""
    lines: list[str] = []
    for name in ("broker.out", "broker.log"):
        with contextlib.suppress(FileNotFoundError):
            lines += (folder / name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([*lines, f"(see {folder}/broker.log)"])


def _ports(before: Broker | None, port: int | None) -> Broker:
    """Choose the ports: the asked one, else those of the last time, else free ones."""
    if port is not None and not _free(port):
        raise ConfigError(f"port {port} on 127.0.0.1 is taken by another process")
    mine = _usable(port or (before.port if before else 0), taken=0)
    return Broker(mine, _usable(before.controller_port if before else 0, taken=mine))


def _usable(wanted: int, taken: int) -> int:
    """Keep the wanted port where it is free, else pick one.

    Picked below the range of outgoing connections: there a client that retries against a
    stopped broker can be given the broker's own port and keep it from coming back.
    """
    tries = (random.randrange(20_000, 32_000) for _ in range(1000))
    usable = (port for port in (wanted, *tries) if port not in (0, taken) and _free(port))
    return next(usable)


def _free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One start or stop at a time per home; the kernel frees the lock of a killed process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"cannot write in {folder} ({error.strerror}): set IMECE_HOME to a folder of yours"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> Broker | None:
    path = folder / "state.json"
    try:
        return Broker(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}): delete it and start again") from error


def _write(folder: Path, broker: Broker) -> None:
    fresh = folder / "state.json.new"
    fresh.write_text(json.dumps(asdict(broker), indent=1))
    fresh.rename(folder / "state.json")
