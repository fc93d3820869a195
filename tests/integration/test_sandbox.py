"""Hostile programs in bubblewrap: nothing to read, nobody to call, no time to waste."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from imece.client import Client
from imece.errors import ConfigError
from imece.events import AnswerVerified, Correction, FeedbackDecided, FeedbackSubmitted, new
from services.feedback_guard.sandbox import Call, Sandbox
from services.feedback_guard.unit_tests import Case, Test, judge
from tests.integration.herd import Herd, everything, send, until, until_topics

BWRAP = os.environ.get("IMECE_TEST_BWRAP", "bwrap")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    if shutil.which(BWRAP) is None:
        pytest.skip("bubblewrap is not installed (IMECE_TEST_BWRAP names another place)")
    made = Sandbox(BWRAP, seconds=60)
    try:
        made.check()
    except ConfigError as error:
        pytest.skip(str(error))
    return made


def does(sandbox: Sandbox, body: str, *arguments: Any) -> Any:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    told = sandbox.run(Call(f"def f(*given):\n{lines}", "f", [arguments]))
    return told if told is None else next(iter(told[0].values()))


def test_a_function_is_called_with_each_case(sandbox: Sandbox):
    told = sandbox.run(Call("def f(a, b):\n    return [a, b]", "f", [[1, "ğ"], [None, 2.5], [1]]))
    assert told == [{"value": [1, "ğ"]}, {"value": [None, 2.5]}, {"error": "TypeError"}]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("open('/proc/self/environ')", "FileNotFoundError"),
        ("import os\nreturn dict(os.environ).get('HOME')", None),
        ("import os\nreturn os.getuid()", 65534),
        ("import os\nreturn os.path.exists('/home') or os.path.exists('/var')", False),
        ("open('/usr/x', 'w')", "OSError"),
        ("open('/x', 'w')", "OSError"),
        ("open('/dev/shm/x', 'w')", "OSError"),
        ("open('/tmp/x', 'wb').write(bytes(2 << 20))", "OSError"),
        ("import os\nwhile True:\n    os.write(2, b'x' * 65536)", "OSError"),
        ("import os\nos.fork()", "PermissionError"),
        ("import subprocess\nsubprocess.run(['/usr/bin/env'])", "PermissionError"),
        ("import socket\nsocket.socket()", "PermissionError"),
        ("import threading\nthreading.Thread(target=print).start()", "RuntimeError"),
        ("return len('x' * (600 << 20))", "MemoryError"),
        ("import ctypes\nreturn ctypes.CDLL(None).unshare(0x10000000)", -1),
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "ValueError"),
        ("import sys\nprint('[1]')\nsys.stdout.flush()\nreturn 7", 7),
    ],
)
def test_what_is_outside_is_out_of_reach(sandbox: Sandbox, body: str, outcome: Any):
    assert does(sandbox, body) == outcome


def test_a_service_of_this_machine_cannot_be_called(sandbox: Sandbox):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = server.getsockname()
        body = f"import socket\nsocket.create_connection({address!r})"
        assert does(sandbox, body) == "PermissionError"
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "body",
    [
        "import os\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import os\nos.write(1, b'x' * (1 << 20))\nos.write(3, b'x' * (1 << 20))",
        "return {1, 2}",
        "import os\nos.execv('/usr/bin/env', ['env'])",
    ],
)
def test_what_dies_or_says_no_json_is_no_evidence(sandbox: Sandbox, body: str):
    assert does(sandbox, body) is None


@pytest.mark.parametrize("body", ["while True:\n    pass", "import time\ntime.sleep(10**6)"])
def test_what_hangs_is_ended_and_no_evidence(sandbox: Sandbox, body: str):
    assert does(Sandbox(BWRAP, seconds=1), body) is None


def test_a_program_cannot_talk_its_way_through(sandbox: Sandbox):
    """It does not know what is expected, so it can neither print nor equal it."""
    test = Test(question="?", function="f", cases=(Case(given=(2,), expected=4),))
    sly = "class Yes(int):\n    def __eq__(self, other): return True\ndef f(n): return Yes(1)"
    assert judge(sly, test, sandbox.run) is False
    exits = "import os\ndef f(n): return 4\nos._exit(0)"
    assert judge(exits, test, sandbox.run) is None
    assert judge("def f(n): return n * n", test, sandbox.run) is True


@pytest.mark.kafka
async def test_a_correction_over_kafka_is_accepted_once_its_code_passed(
    sandbox: Sandbox, fresh_kafka, tmp_path: Path
):
    home, tests = tmp_path / "home", tmp_path / "tests.toml"
    home.mkdir()
    case = "{ given = [2, 3], expected = 5 }"
    tests.write_text(f'[[test]]\nquestion = "Write add"\nfunction = "add"\ncases = [{case}]\n')
    env = {"IMECE_FEEDBACK_GUARD_TESTS": str(tests), "IMECE_FEEDBACK_GUARD_SANDBOX": BWRAP}
    herd = Herd(home, fresh_kafka.address, **env)

    async def decided() -> list[FeedbackDecided]:
        return [e.data for e in await everything(fresh_kafka.address, FeedbackDecided)]

    async def settled() -> bool:
        return {d.verdict for d in await decided() if d.version == 2} == {"accept", "reject"}

    try:
        herd.start("feedback_guard")
        await until_topics(fresh_kafka.address, AnswerVerified)
        async with Client(fresh_kafka.address, "tests") as client:
            for user, sign in (("ayşe", "+"), ("eve", "-")):
                data = FeedbackSubmitted(
                    user=user,
                    response=f"r-{user}",
                    prompt="Write add",
                    answer="def add(a, b): pass",
                    signal=Correction(text=f"def add(a, b):\n    return a {sign} b"),
                )
                await send(client, new(data, "upstream"))
        await until(settled)
        told = [e.data.right for e in await everything(fresh_kafka.address, AnswerVerified)]
        assert sorted(told) == [False, True]
        assert herd.stop() == {"feedback_guard": 0}
    finally:
        herd.end()
