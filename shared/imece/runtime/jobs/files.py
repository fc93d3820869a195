"""The files of an attempt folder and how they are written: whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

REQUEST, LOG, PROGRESS = "request.json", "job.log", "progress.json"
RESULT, FAILURE, CHECKPOINTS = "result.json", "failure.json", "checkpoints"
BAD_CONFIG, INTERRUPTED = 64, 75
"""Exit codes: never retry; stopped because it was asked to."""


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Replace `path` atomically; `durable` waits until the disk has it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False, ensure_ascii=False)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object at `path`, None when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
