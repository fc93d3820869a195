"""The small job of the jobs bench: fit two weights by gradient descent, checkpoint, store a folder.

Every executed step is a line in the job's trace, so that repeats and their order can be counted.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from imece.events import Progress
from imece.runtime.artifacts import Artifacts
from imece.runtime.jobs.child import ChildJob, Stopped, run

POINTS = [(x / 7, 3 * x / 7 - 1) for x in range(-7, 8)]


@dataclass
class Fit:
    """Two weights with momentum; its state is exact in JSON, as floats are written in full."""

    weights: list[float] = field(default_factory=lambda: [0.1, 0.2])
    speed: list[float] = field(default_factory=lambda: [0.0, 0.0])
    losses: list[float] = field(default_factory=list)

    def step(self) -> float:
        a, b = self.weights
        errors = [(a * x + b - y, x) for x, y in POINTS]
        slope = (sum(e * x for e, x in errors), sum(e for e, _ in errors))
        for i, part in enumerate(slope):
            self.speed[i] = 0.9 * self.speed[i] - 0.01 * part
            self.weights[i] += self.speed[i]
        self.losses.append(sum(e * e for e, _ in errors) / len(errors))
        return self.losses[-1]


def unbroken(steps: int) -> list[float]:
    """Return the loss curve of a run that nothing interrupts."""
    fit = Fit()
    return [fit.step() for _ in range(steps)]


def work(job: ChildJob) -> dict[str, Any]:
    steps, every = job.request["steps"], job.request["every"]
    found = job.checkpoints.newest()
    first = found.step if found else 0
    _trace(job, first, first)  # what a fenced attempt still does from here on is not repeated
    fit = Fit(**json.loads((found.folder / "fit.json").read_text())) if found else Fit()
    for step in range(first + 1, steps + 1):
        time.sleep(job.request["seconds"])
        loss = fit.step()
        _trace(job, step, first)
        job.progress(Progress(step=step, steps=steps, loss=loss))
        stop = job.should_stop()
        if step % every == 0 or stop:
            job.checkpoints.save(step, partial(_write, json.dumps(vars(fit))))
        if stop:
            raise Stopped
    return _store(job, fit)


def _trace(job: ChildJob, step: int, first: int) -> None:
    with Path(job.request["trace"]).open("a") as trace:
        trace.write(f"{job.token} {step} {first}\n")


def _write(text: str, folder: Path) -> None:
    (folder / "fit.json").write_text(text)


def _store(job: ChildJob, fit: Fit) -> dict[str, Any]:
    out = job.folder / "out"
    out.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (out / f"{name}.json").write_text(json.dumps(vars(fit)) * 20)
    store = Artifacts(job.request["artifacts"])
    stored = store.put_folder(f"fits/{job.id}/{job.token}", out)
    return {
        "total": len(fit.losses),
        "token": job.token,
        "losses": fit.losses,
        "uri": stored.uri,
        "digest": stored.digest,
    }


if __name__ == "__main__":
    run(work)
