"""Freed memory stays in the process where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from services.adapter import memory

_PROGRAM = """
import resource, sys
from services.adapter import memory
if sys.argv[1] == "keep":
    assert memory.keep_freed()
for _ in range(3):  # the largest step comes first
    held = [bytearray(2 << 20) for _ in range(30)]
    del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
held = [bytearray(2 << 20) for _ in range(30)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_was_freed_is_not_asked_of_the_system_again() -> None:
    assert _faults("keep") * 10 < _faults("default")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_freed()
