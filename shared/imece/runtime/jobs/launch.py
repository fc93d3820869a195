"""What starts the processes of an attempt, on this machine or elsewhere, and what it gives back."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from imece.events import Progress
from imece.runtime.jobs import files
from imece.runtime.jobs.model import Job

TORCHRUN = "torch.distributed.run"
"""Gives each of several processes its rank and where to meet; the children read no other words."""


class Running(Protocol):
    """The processes of one attempt. All methods may block."""

    @property
    def name(self) -> str:
        """What an operator finds them by."""

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, None while they run."""

    def starved(self) -> str | None:
        """Say what speaks for a kill for want of memory, None where nothing does."""

    def ask_to_stop(self) -> None:
        """Let them save and stop."""

    def kill(self) -> None:
        """End all of them now, whatever they do, and forget them."""


class Launcher(Protocol):
    """A place where attempts run."""

    def start(self, job: Job, attempt: Path, module: str, env: Mapping[str, str]) -> Running:
        """Start `module` on the folder `attempt`; OSError or UnavailableError where that fails."""


def command(module: str, attempt: Path, processes: int, *, nodes: Sequence[str] = ()) -> list[str]:
    """Return the command of one attempt: Python alone, or torchrun over so many processes.

    `nodes` is how torchrun finds the others where there are several machines.
    """
    work = ["-m", module, str(attempt)]
    if processes == 1 and not nodes:
        return [sys.executable, *work]
    together = nodes or ("--standalone",)
    return [sys.executable, "-m", TORCHRUN, *together, f"--nproc-per-node={processes}", *work]


class Signs:
    """What the processes leave in their folder: progress, and signs of life."""

    def __init__(self, folder: Path, now: float) -> None:
        """Look at `folder`; at `now` they were alive."""
        self._folder = folder
        self._seen = 0
        self._last: tuple[int, int] = (0, 0)
        self._alive = now

    def quiet_seconds(self, now: float) -> float:
        """Return for how long they have neither reported progress nor logged."""
        found = _changed_at(self._folder / files.PROGRESS), _changed_at(self._folder / files.LOG)
        if found != self._last:
            self._last, self._alive = found, now
        return now - self._alive

    def new_progress(self) -> Progress | None:
        """Return the progress reported since the last call, None without any."""
        path = self._folder / files.PROGRESS
        changed = _changed_at(path)
        if changed == self._seen:
            return None
        self._seen = changed
        try:
            return Progress.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None


def _changed_at(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
