"""Attempts as child processes of this machine, and the folders that they work in."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from imece.errors import UnavailableError, disk_is_full
from imece.runtime.jobs import files, launch, oom
from imece.runtime.jobs.launch import Launcher, Running
from imece.runtime.jobs.model import Failed, Job
from imece.runtime.jobs.outcome import failed


class Child:
    """A running child in its own session; its stdin stays open as long as the runner lives."""

    def __init__(self, process: subprocess.Popen[bytes], before: oom.Seen | None) -> None:
        """Remember the process, and what the out-of-memory killer had done before it."""
        self.process = process
        self._before = before

    @property
    def name(self) -> str:
        """The process id."""
        return str(self.process.pid)

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, None while it runs."""
        return self.process.poll()

    def starved(self) -> str | None:
        """Say which counter of the kernel speaks for a kill for want of memory."""
        return oom.evidence(self._before, oom.read())

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the leader only, whose helpers have to live until it has saved."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill the whole group, also what the leader left behind, and reap the leader.

        Processes of torchrun have sessions of their own; they end with their parent.
        """
        # The kernel keeps the leader's pid taken while any member of its group lives.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


class Processes:
    """Runs attempts on this machine: one process, or as many as the job wants devices."""

    def start(self, job: Job, attempt: Path, module: str, env: Mapping[str, str]) -> Running:
        """Start the child; OSError where the process table or the disk is full."""
        inherited = os.environ  # noqa: TID251 - the child gets the environment of its service
        before = oom.read()
        with (attempt / files.LOG).open("ab") as log:
            process = subprocess.Popen(
                launch.command(module, attempt, job.devices),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"OMP_WAIT_POLICY": "passive", **inherited, "PYTHONUNBUFFERED": "1", **env},
            )
        return Child(process, before)


def start(
    job: Job, folder: Path, module: str, env: Mapping[str, str], launcher: Launcher
) -> Running | Failed:
    """Prepare the attempt's folder and start it there; a full disk or no process is a failure."""
    attempt = attempt_folder(job, folder)
    try:
        attempt.mkdir(parents=True, exist_ok=True)
        earlier = [str(path / files.CHECKPOINTS) for path in _earlier(attempt)]
        request = {"job": job.id, "model": job.model, "token": job.token}
        files.write_json(
            attempt / files.REQUEST, {**request, "request": job.request, "earlier": earlier}
        )
        return launcher.start(job, attempt, module, env)
    except (OSError, UnavailableError) as error:
        reason = "disk_full" if disk_is_full(error) else "cannot_start"
        return failed(reason, str(error), retry=True)


def attempt_folder(job: Job, folder: Path) -> Path:
    """Return where an attempt's request, log, progress, checkpoints and result are."""
    return (folder / job.id / str(job.token)).absolute()


def drop_checkpoints(folder: Path, job_id: str) -> None:
    """Remove all checkpoints of a job that succeeded; logs, requests and results stay."""
    for path in (folder / job_id).glob(f"*/{files.CHECKPOINTS}"):
        shutil.rmtree(path, ignore_errors=True)


def _earlier(attempt: Path) -> list[Path]:
    others = [p for p in attempt.parent.iterdir() if p.name.isdecimal() and p != attempt]
    return sorted(others, key=lambda path: int(path.name), reverse=True)
