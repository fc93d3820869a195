"""The real broker for the tests: started by them, gone with them, never skipped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imece.local import kafka as embedded

CACHE = Path(os.environ.get("IMECE_CACHE", Path.home() / ".cache" / "imece"))

# Ends the broker when our end of its stdin closes, which even `kill -9` of pytest does.
_GUARD = """
import sys
from pathlib import Path
from imece.local import kafka
sys.stdin.read()
kafka.stop(Path(sys.argv[1]), grace=10)
"""


@dataclass
class LocalKafka:
    """One broker that a test may stop, kill and start again on the same data and port."""

    home: Path

    @property
    def address(self) -> str:
        return embedded.bootstrap(self.home, None)

    def start(self) -> embedded.Broker:
        return embedded.start(self.home, CACHE, timeout=300)

    def stop(self) -> None:
        embedded.stop(self.home)

    def kill9(self) -> None:
        broker = embedded.status(self.home)
        assert broker is not None, "no broker runs that could be killed"
        os.kill(broker.pid, signal.SIGKILL)
        while embedded.status(self.home):
            time.sleep(0.05)


@contextmanager
def _guarded(home: Path) -> Iterator[LocalKafka]:
    command = [sys.executable, "-c", _GUARD, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        broker = LocalKafka(home)
        broker.start()
        yield broker  # leaving closes the guard's stdin and waits for it to end


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the broker that all tests share: use names of topics and groups of your own."""
    if given := os.environ.get("IMECE_KAFKA"):
        yield given
        return
    with _guarded(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.address


@pytest.fixture
def fresh_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """Give a running broker of the test's own, for killing and restarting."""
    with _guarded(tmp_path) as broker:
        yield broker
