"""The same tuning as a job of the adapter and as a script, each in processes of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from imece.events import AdaptationRequested, AdapterTrained, Envelope, Instruction, JobState, new
from imece.runtime.artifacts import Artifacts
from imece.runtime.settings import Settings
from services.adapter.app import build
from tests.bench.tuning.material import Task
from tests.training import publish


def as_job(base: Path, task: Task, home: Path) -> float:
    """Return the seconds from the request to the event of the trained adapter."""
    settings = Settings(home=home, cache=home / "cache", artifacts=None)
    rows = [Instruction(prompt=row.prompt, response=row.response) for row in task.rows]
    ref = publish(Artifacts(settings.artifacts_url()), rows)
    request = AdaptationRequested(
        model="bench", base=str(base), datasets=(ref,), recipe=task.recipe
    )
    return asyncio.run(_job(settings, new(request, "bench")))


async def _job(settings: Settings, request: Envelope[Any]) -> float:
    told: list[Any] = []
    over = asyncio.Event()

    async def keep(*events: Envelope[Any]) -> None:
        told.extend(event.data for event in events)
        if any(
            isinstance(each, JobState) and each.state in ("succeeded", "failed") for each in told
        ):
            over.set()

    service, stop = build(settings, keep), asyncio.Event()
    async with service.resources[0]:
        working = asyncio.ensure_future(service.background[0](stop))
        began = time.perf_counter()
        try:
            await service.subscriptions[0].handle([request])
            await over.wait()
            seconds = time.perf_counter() - began
        finally:
            stop.set()
            await working
    if not any(isinstance(each, AdapterTrained) for each in told):
        raise RuntimeError(f"the job did not succeed: {told[-1]}")
    return seconds


def as_script(base: Path, task: Task, folder: Path) -> tuple[float, float]:
    """Return the seconds of the whole process, and of the recipe in it."""
    folder.mkdir(parents=True)
    rows = [{"prompt": row.prompt, "response": row.response} for row in task.rows]
    given = {"base": str(base), "rows": rows, "recipe": task.recipe.model_dump(mode="json")}
    (folder / "task.json").write_text(json.dumps(given), encoding="utf-8")
    command = [sys.executable, "-m", "tests.bench.tuning.direct"]
    command += [str(folder / "task.json"), str(folder / "out")]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, float(done.stdout.split()[-1])
