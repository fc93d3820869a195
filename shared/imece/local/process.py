"""Tell a living process from a dead one whose number was given to another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def started(pid: int) -> str | None:
    """Return when the process began, as an opaque mark, or None when it is dead or a zombie.

    The pair (pid, mark) never comes twice on one machine, a pid alone does.
    """
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _started_by_ps(pid: int) -> str | None:
    run = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, since = run.stdout.strip().partition(" ")
    return since.strip() if state and not state.startswith("Z") else None


def end(pid: int, mark: str, grace: float) -> bool:
    """Ask with SIGTERM, wait `grace` seconds, then SIGKILL; False when it was already gone."""
    if started(pid) != mark:
        return False
    _signal(pid, signal.SIGTERM)
    if not _gone(pid, mark, grace):
        _signal(pid, signal.SIGKILL)
        _gone(pid, mark, 10)
    with contextlib.suppress(ChildProcessError):  # only a child of ours is ours to reap
        os.waitpid(pid, os.WNOHANG)
    return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(pid: int, mark: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while started(pid) == mark:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
