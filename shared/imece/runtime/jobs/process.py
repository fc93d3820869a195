"""The child process of one attempt: its folder, its start, its progress, its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from imece.errors import disk_is_full
from imece.events import Progress
from imece.runtime.jobs import files
from imece.runtime.jobs.model import Failed, Job
from imece.runtime.jobs.outcome import failed


class Child:
    """A running child in its own session; its stdin stays open as long as the runner lives."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        """Remember the process and where it works."""
        self.folder = folder
        self.process = process
        self._seen = 0
        self._signs: tuple[int, int] = (0, 0)
        self._alive = time.monotonic()

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, None while it runs."""
        return self.process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the leader only, whose helpers have to live until it has saved."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill the whole group, also what the leader left behind, and reap the leader."""
        # The kernel keeps the leader's pid taken while any member of its group lives.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def quiet_seconds(self) -> float:
        """Return for how long it has neither reported progress nor logged."""
        signs = _changed_at(self.folder / files.PROGRESS), _changed_at(self.folder / files.LOG)
        if signs != self._signs:
            self._signs, self._alive = signs, time.monotonic()
        return time.monotonic() - self._alive

    def new_progress(self) -> Progress | None:
        """Return the progress the child reported since the last call, None without any."""
        path = self.folder / files.PROGRESS
        try:
            changed = path.stat().st_mtime_ns
            if changed == self._seen:
                return None
            self._seen = changed
            return Progress.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None


def start(job: Job, folder: Path, module: str, env: Mapping[str, str]) -> Child | Failed:
    """Prepare `folder` and start the child there; a full disk or process table is a failure."""
    attempt = folder / job.id / str(job.token)
    try:
        attempt.mkdir(parents=True, exist_ok=True)
        earlier = [str(path / files.CHECKPOINTS) for path in _earlier(attempt)]
        request = {"job": job.id, "model": job.model, "token": job.token}
        files.write_json(
            attempt / files.REQUEST, {**request, "request": job.request, "earlier": earlier}
        )
        return Child(attempt, _spawn(attempt, module, env))
    except OSError as error:
        return failed(
            "disk_full" if disk_is_full(error) else "cannot_start", str(error), retry=True
        )


def drop_checkpoints(folder: Path, job_id: str) -> None:
    """Remove all checkpoints of a job that succeeded; logs, requests and results stay."""
    for path in (folder / job_id).glob(f"*/{files.CHECKPOINTS}"):
        shutil.rmtree(path, ignore_errors=True)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _earlier(attempt: Path) -> list[Path]:
    others = [p for p in attempt.parent.iterdir() if p.name.isdecimal() and p != attempt]
    return sorted(others, key=lambda path: int(path.name), reverse=True)


def _spawn(attempt: Path, module: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    inherited = os.environ  # noqa: TID251 - the child gets the environment of its service
    with (attempt / files.LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(attempt.absolute())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"OMP_WAIT_POLICY": "passive", **inherited, "PYTHONUNBUFFERED": "1", **env},
        )
