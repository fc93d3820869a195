"""A job that counts: one line in the trace file a step, a checkpoint every few steps."""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from imece.errors import JobError
from imece.events import Progress
from imece.runtime.jobs.child import ChildJob, Stopped, run


def work(job: ChildJob) -> dict[str, Any]:
    MODES.get(job.request.get("mode", ""), lambda _: None)(job)
    return count(job)


def count(job: ChildJob) -> dict[str, Any]:
    steps, every = job.request["steps"], job.request.get("every", 5)
    found = job.checkpoints.newest()
    first = found.step if found else 0
    total = json.loads((found.folder / "total.json").read_text()) if found else 0
    for step in range(first + 1, steps + 1):
        time.sleep(0.02)
        total += step
        with Path(job.request["trace"]).open("a") as trace:
            trace.write(f"{job.token} {step} {os.getpid()}\n")
        job.progress(Progress(step=step, steps=steps))
        _stay(job, step)
        stop = job.request.get("mode") != "deaf" and job.should_stop()
        if step % every == 0 or stop:
            text = json.dumps(total)
            job.checkpoints.save(step, partial(_write, text))
        if stop:
            raise Stopped
    return {"total": total, "resumed_from": first}


def _stay(job: ChildJob, step: int) -> None:
    """In the first attempt, go no further until told to, so that no test has to be quick."""
    if (job.token, step) == (1, job.request.get("stay")):
        while not (Path(f"{job.request['trace']}.go").exists() or job.should_stop()):
            time.sleep(0.02)


def _write(text: str, folder: Path) -> None:
    (folder / "total.json").write_text(text)


def _fail(job: ChildJob) -> None:
    raise JobError("unknown_base", "the base model hf:none is unknown: see the list")


def _flaky(job: ChildJob) -> None:
    if job.token < 3:
        raise JobError("endpoint_down", "the endpoint did not answer", retry=True)


def _no_result(job: ChildJob) -> None:
    print("about to leave without a word", flush=True)
    sys.exit(0)


def _crash(job: ChildJob) -> None:
    print("epoch 1 of 3", flush=True)
    os._exit(3)


def _disk_full(job: ChildJob) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "checkpoints/x")


def _fill(job: ChildJob) -> None:
    """Write a checkpoint that fits and one that the file system refuses."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    if job.checkpoints.newest() is None:
        job.checkpoints.save(1, partial(_write, json.dumps(1)))
    job.checkpoints.save(2, partial(_write, json.dumps("x" * 10_000)))


def _small_memory(job: ChildJob) -> None:
    """Run out of memory until a batch is cut into four."""
    if job.split < 4:
        raise MemoryError(f"a batch cut into {job.split} does not fit")


def _hang(job: ChildJob) -> None:
    if job.token == 1:
        time.sleep(600)


def _bad_result(job: ChildJob) -> None:
    job.request["steps"] = 0


MODES = {
    "fail": _fail,
    "flaky": _flaky,
    "no-result": _no_result,
    "crash": _crash,
    "disk-full": _disk_full,
    "bad-result": _bad_result,
    "fill": _fill,
    "small-memory": _small_memory,
    "hang": _hang,
}

if __name__ == "__main__":
    run(work)
