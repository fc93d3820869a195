"""Strangers' Python in bubblewrap: own namespaces, no network, nothing to read, few system calls.

The program never sees what is expected of it: it is called, and the caller compares.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imece.errors import ConfigError

_MIB = 1 << 20
_MOST_OUTPUT = 256 * 1024
_MEMORY = 512 * _MIB
_NOBODY = "65534"
_HARNESS = """
import json, os, resource, sys
given = json.load(sys.stdin)
told = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for name, most in given["limits"].items():
    resource.setrlimit(getattr(resource, name), (most, most))
names, cases = {"__name__": "answer"}, []
try:
    exec(compile(given["code"], "answer", "exec"), names)
    function = names[given["function"]]
    for arguments in given["cases"]:
        try:
            case = {"value": function(*arguments)}
        except Exception as error:
            case = {"error": type(error).__name__}
        cases.append(json.loads(json.dumps(case)))
except BaseException as error:
    cases = {"unusable": type(error).__name__}
json.dump(cases, told)
told.flush()
os._exit(0)
"""
# clone, fork, vfork, clone3, execveat, socket, socketpair, ptrace, process_vm_writev, unshare,
# setns, mount, add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, io_uring_setup
_DENIED = {
    "x86_64": (
        0xC000003E,
        (56, 57, 58, 435, 322, 41, 53, 101, 311, 272, 308, 165, 248, 249, 250, 321, 298, 323, 425),
    ),
    "aarch64": (
        0xC00000B7,
        (220, 435, 281, 198, 199, 117, 271, 97, 268, 40, 217, 218, 219, 280, 241, 282, 425),
    ),
}


@dataclass(frozen=True)
class Call:
    """A function of a program, and the arguments of each call, as JSON values."""

    code: str
    function: str
    cases: Sequence[Sequence[Any]]


class Sandbox:
    """Runs programs in bubblewrap, one process each."""

    def __init__(self, program: str = "bwrap", seconds: float = 5.0) -> None:
        """Find `program`; `seconds` is the wall time of one run."""
        found = shutil.which(program)
        if found is None:
            raise ConfigError(f"unit tests need bubblewrap, and there is no {program}: install it")
        if platform.machine() not in _DENIED:
            raise ConfigError(f"unit tests are not made safe on {platform.machine()}: unset them")
        self._command, self._seconds = [found, *_walls()], seconds

    def check(self) -> None:
        """Try it on a program that is known; ConfigError where the machine forbids namespaces."""
        told, why = self._told(Call("def double(n):\n    return 2 * n", "double", [[21]]))
        if told != [{"value": 42}]:
            raise ConfigError(
                f"bubblewrap does not work here ({why or told}): user namespaces have to be allowed"
            )

    def run(self, call: Call) -> list[dict[str, Any]] | None:
        """Return ``{"value": …}`` or ``{"error": …}`` for each case.

        None where the program cannot be used, takes too long or too much, or says no JSON.
        """
        told, _ = self._told(call)
        return told if isinstance(told, list) and len(told) == len(call.cases) else None

    def _told(self, call: Call) -> tuple[Any, str]:
        given = {
            "code": call.code,
            "function": call.function,
            "cases": call.cases,
            "limits": {
                "RLIMIT_AS": _MEMORY,
                "RLIMIT_CPU": int(self._seconds) + 1,
                "RLIMIT_FSIZE": _MIB,
                "RLIMIT_NOFILE": 32,
                "RLIMIT_CORE": 0,
            },
        }
        with tempfile.TemporaryFile() as rules, tempfile.TemporaryFile() as errors:
            rules.write(filter_of(platform.machine()))
            rules.seek(0)
            inner = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", _HARNESS]
            command = [*self._command, "--seccomp", str(rules.fileno()), *inner]
            said = self._said(command, json.dumps(given).encode(), rules.fileno(), errors)
            errors.seek(0)
            why = errors.read(500).decode(errors="replace").strip()
        try:
            return json.loads(said), why
        except (ValueError, RecursionError):
            return None, why

    def _said(self, command: list[str], given: bytes, rules: int, errors: Any) -> bytes:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(rules,),
            env={},
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            # Killing bubblewrap ends its process namespace, so nothing inside outlives it.
            clock = threading.Timer(self._seconds, process.kill)
            clock.start()
            try:
                process.stdin.write(given)
                process.stdin.close()
                return process.stdout.read(_MOST_OUTPUT)
            except BrokenPipeError:
                return b""
            finally:
                clock.cancel()
                process.kill()


def _walls() -> list[str]:
    """Return bubblewrap's options: what is not named here does not exist inside."""
    walls = [
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
    ]
    walls += ["--cap-drop", "ALL", "--clearenv", "--uid", _NOBODY, "--gid", _NOBODY]
    walls += ["--hostname", "sandbox", "--dev", "/dev"]
    folders = {"/usr", "/lib", "/lib64", sys.base_prefix}
    for folder in sorted(folders, key=len):
        if os.path.islink(folder):
            walls += ["--symlink", os.readlink(folder), folder]
        elif Path(folder).is_dir():
            walls += ["--ro-bind", folder, folder]
    walls += ["--size", str(16 * _MIB), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return [*walls, "--remount-ro", "/dev", "--remount-ro", "/"]


def filter_of(machine: str) -> bytes:
    """Return the seccomp program (classic BPF) that denies new processes, sockets and the like."""
    audit, denied = _DENIED[machine]
    load, equal, least, result = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, audit),
        (result, 0, 0, kill),
        (load, 0, 0, 0),  # the number of the call
        (least, len(denied) + 1, 0, 0x40000000),  # another numbering of the same calls
        *((equal, len(denied) - at, 0, number) for at, number in enumerate(denied)),
        (result, 0, 0, allow),
        (result, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
