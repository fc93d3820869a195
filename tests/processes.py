"""Looking at processes that may end while one looks."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]


def command(process: psutil.Process) -> list[str]:
    """Return its command line; none when it has ended, reaped by now or not."""
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
