"""The child's side of a job: read the request, run the work, leave a result or a named failure.

``if __name__ == "__main__": run(work)`` is all that a job module adds.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from imece.errors import ConfigError, JobError, RejectedError, UnavailableError, disk_is_full
from imece.events import Progress
from imece.runtime.checkpoints import Checkpoints
from imece.runtime.jobs import files
from imece.runtime.jobs.model import SPLIT

_LOOK_SECONDS = 0.2
_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""What torch says of the CPU, of CUDA outside its allocator, and of cuBLAS or cuDNN."""


class Stopped(Exception):  # noqa: N818 - not an error
    """Raise it from the work after `should_stop` turned true and a checkpoint was saved."""


@dataclass
class ChildJob:
    """What the work gets: its request, its folder, its checkpoints, and ears for a stop."""

    id: str
    model: str
    token: int
    request: dict[str, Any]
    folder: Path
    checkpoints: Checkpoints
    rank: int = 0
    """Which of the processes of this attempt it is; the first alone writes what others read."""
    _asked: threading.Event = field(default_factory=threading.Event)
    _saw: bool = False

    def progress(self, progress: Progress) -> None:
        """Report how far the work is; the runner announces the newest every few seconds."""
        if self.rank != 0:
            return
        content = progress.model_dump(mode="json")
        files.write_json(self.folder / files.PROGRESS, content, durable=False)

    @property
    def split(self) -> int:
        """Into how many parts to cut each batch: doubled after each want of memory."""
        return int(self.request.get(SPLIT, 1))

    def should_stop(self) -> bool:
        """Tell whether to checkpoint and stop now; once true, a returned result is not taken.

        So a loop may simply break: a half-done result never counts as a finished job.
        """
        self._saw = self._saw or self._asked.is_set()
        return self._saw


def run(work: Callable[[ChildJob], dict[str, Any]]) -> NoReturn:
    """Do what `main` does and end at once.

    What counts is on the disk by then; a process that has imported torch would spend two more
    seconds on taking its modules apart.
    """
    code = main(work)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(work: Callable[[ChildJob], dict[str, Any]]) -> int:
    """Run `work` for the attempt folder named on the command line; return the exit code."""
    if len(sys.argv) != 2 or (job := _load(Path(sys.argv[1]))) is None:
        sys.stderr.write(f"usage: python -m MODULE ATTEMPT_FOLDER (with {files.REQUEST} in it)\n")
        return files.BAD_CONFIG
    signal.signal(signal.SIGTERM, lambda *_: job._asked.set())
    _die_with_whoever_started_us()
    try:
        result = work(job)
        if job._saw:
            return files.INTERRUPTED
        if job.rank == 0:
            files.write_json(job.folder / files.RESULT, {"token": job.token, "result": result})
    except Stopped:
        return files.INTERRUPTED
    except Exception as error:
        return _fail(job.folder, error)
    return 0


def _load(folder: Path) -> ChildJob | None:
    content = files.read_json(folder / files.REQUEST)
    if content is None:
        return None
    earlier = [Path(path) for path in content["earlier"]]
    checkpoints = Checkpoints(content["job"], folder / files.CHECKPOINTS, earlier)
    return ChildJob(
        content["job"],
        content["model"],
        content["token"],
        content["request"],
        folder,
        checkpoints,
        rank=int(_of_torchrun("RANK") or 0),
    )


def _of_torchrun(name: str) -> str | None:
    """Return what torchrun tells each of its processes, None where there is only one."""
    return os.environ.get(name)  # noqa: TID251 - its protocol, not a setting


def _die_with_whoever_started_us() -> None:
    # In a pod stdin is no pipe: what started us is elsewhere, and deletes the pod.
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_die_with_the_runner, daemon=True).start()
    if _of_torchrun("RANK") is not None:
        threading.Thread(target=_die_with_torchrun, args=(os.getppid(),), daemon=True).start()


def _die_with_the_runner() -> None:
    """End the whole group when the runner is gone: its end of our stdin closes even on kill -9."""
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _die_with_torchrun(parent: int) -> None:
    """End when torchrun is gone: it gave us a session of our own, where its end goes unheard."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _fail(folder: Path, error: Exception) -> int:
    traceback.print_exc()
    reason, retry = named(error)
    failure = {"reason": reason, "message": str(error) or type(error).__name__, "retry": retry}
    try:
        # Of several processes the first to fail knows why; the others only lost it.
        if not (folder / files.FAILURE).exists():
            files.write_json(folder / files.FAILURE, failure)
    except OSError:
        # On a full disk the runner still has the last line of the log and the exit code.
        sys.stderr.write(f"{reason}: {failure['message']}\n")
    return files.BAD_CONFIG if isinstance(error, ConfigError) else 1


def _wants_memory(error: Exception) -> bool:
    """Tell want of memory, which torch names in one place and only words in others."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)


def named(error: Exception) -> tuple[str, bool]:
    """Return the reason code of an error and whether another attempt can help."""
    if isinstance(error, JobError):
        return error.reason, error.retry
    if isinstance(error, RejectedError):
        return error.reason, False
    if disk_is_full(error):
        return "disk_full", True
    if _wants_memory(error):
        return "out_of_memory", True
    table = ((ConfigError, "bad_config", False), (UnavailableError, "unavailable", True))
    for kind, reason, retry in (*table, (ImportError, "import_failed", False)):
        if isinstance(error, kind):
            return reason, retry
    return "crashed", False
