"""What the embedded broker's code decides without a broker: files, state, ports, answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError
from imece.local import broker_files, kafka, probe, process


def unescape(text: str) -> str:
    """Read a value as java.util.Properties does."""
    units = re.findall(r"\\u([0-9a-f]{4})|\\(.)|(.)", text, re.DOTALL)
    data = b"".join(
        int(code, 16).to_bytes(2, "big") if code else (escaped or plain).encode("utf-16-be")
        for code, escaped, plain in units
    )
    return data.decode("utf-16-be")


@given(st.text())
def test_any_path_survives_the_properties_file(text: str) -> None:
    written = broker_files.escape(text)
    assert written.isascii()
    assert written.isprintable()
    assert unescape(written) == text


def test_a_home_that_kafka_would_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="comma"):
        broker_files.write(tmp_path, tmp_path / "a,b", 1, 2)


def text16(text: bytes | None) -> bytes:
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text


@given(
    hosts=st.lists(st.tuples(st.binary(max_size=40), st.none() | st.binary(max_size=9))),
    controller=st.integers(-1, 2**31 - 1),
)
def test_the_controller_is_found_behind_any_brokers(
    hosts: list[tuple[bytes, bytes | None]], controller: int
) -> None:
    body = struct.pack(">ii", 1, len(hosts))
    for host, rack in hosts:
        body += struct.pack(">i", 1) + text16(host) + struct.pack(">i", 9092) + text16(rack)
    found = probe.parse(body + struct.pack(">ii", controller, 0))
    assert found == (controller if hosts and controller >= 0 else None)


def test_something_that_is_no_broker_has_no_controller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert probe.controller(address, timeout=0.2) is None
    assert probe.controller(address, timeout=0.2) is None


@pytest.mark.parametrize(
    "address", ["nonsense", ":9092", "host:", "host:port", "host:65536", "h:²"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="IMECE_KAFKA"):
        probe.controller(address)


def test_an_address_that_is_set_wins_over_the_embedded_broker(tmp_path: Path) -> None:
    assert kafka.bootstrap(tmp_path, "broker:9092") == "broker:9092"


def test_without_a_broker_the_command_to_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="imece kafka start"):
        kafka.bootstrap(tmp_path, None)


def write_state(home: Path, **fields: object) -> None:
    (home / "kafka").mkdir()
    state = {"port": 20001, "controller_port": 20002, **fields}
    (home / "kafka" / "state.json").write_text(json.dumps(state))


def test_a_pid_that_now_belongs_to_another_process_is_not_our_broker(tmp_path: Path) -> None:
    write_state(tmp_path, pid=os.getpid(), started="an earlier process")
    assert kafka.status(tmp_path) is None
    assert kafka.stop(tmp_path) is False  # and this test lives on
    assert json.loads((tmp_path / "kafka" / "state.json").read_text())["port"] == 20001


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    write_state(tmp_path, unknown=1)
    with pytest.raises(ConfigError, match=r"state\.json is damaged"):
        kafka.status(tmp_path)


def test_stopping_a_home_that_never_ran_leaves_no_trace(tmp_path: Path) -> None:
    assert kafka.stop(tmp_path / "new") is False
    assert not (tmp_path / "new").exists()


def test_a_home_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="IMECE_HOME"):
        kafka.start(tmp_path / "file", tmp_path)


def test_a_taken_port_is_refused_when_asked_for_and_replaced_when_remembered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {taken} .* is taken"):
            kafka._ports(None, taken)
        chosen = kafka._ports(kafka.Broker(port=taken, controller_port=20002), None)
        assert chosen.port != taken
    remembered = kafka._ports(kafka.Broker(port=chosen.port, controller_port=20002), None)
    assert remembered.port == chosen.port
    assert kafka._ports(None, 20002).controller_port != 20002


DEAF = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {}; time.sleep(60)"


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    code = DEAF.format("print(flush=True)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        mark = process.started(child.pid)
        assert mark is not None
        assert process.end(child.pid, "another process", grace=0) is False
        assert process.started(child.pid) == mark
        begin = time.monotonic()
        assert process.end(child.pid, mark, grace=0.3) is True
        assert time.monotonic() - begin >= 0.3
        assert process.started(child.pid) is None
        assert process.end(child.pid, mark, grace=0.3) is False


def test_a_zombie_counts_as_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        assert process.started(child.pid) is not None
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
        assert process.started(child.pid) is None
