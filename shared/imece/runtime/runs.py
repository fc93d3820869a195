"""What jobs that train have in common: progress with a rate, thinned losses, provenance."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

import imece
from imece.events import Progress
from imece.runtime import card, checkpoints
from imece.runtime.artifacts import Artifacts

MOST_LOSSES = 200


def thinned(losses: Sequence[float], most: int = MOST_LOSSES) -> list[tuple[int, float]]:
    """Return at most `most` (step, loss) pairs, evenly spread, the first and last among them."""
    count = len(losses)
    if count <= most:
        chosen = list(range(count))
    else:
        chosen = [round(i * (count - 1) / (most - 1)) for i in range(most)]
    return [(i + 1, losses[i]) for i in chosen]


def settled(losses: Sequence[float]) -> float:
    """Return the mean of the last tenth of the losses, which is less noisy than the last one."""
    return fmean(losses[-max(1, len(losses) // 10) :])


@dataclass
class Meter:
    """Turns steps into progress events; the rate is that of this attempt alone.

    `per_step` is how many `unit` one step works through.
    """

    per_step: int
    unit: str
    first: int | None = None

    def progress(self, step: int, steps: int, loss: float, seconds: float) -> Progress:
        """Return how far a run is after `step` of `steps`, `seconds` after it started."""
        if self.first is None:
            self.first = step - 1
        pace = (step - self.first) / max(seconds, 1e-6)
        return Progress(
            step=step,
            steps=steps,
            loss=loss,
            rate=round(pace * self.per_step, 2),
            unit=self.unit,
            seconds=round(seconds, 3),
            eta_seconds=round((steps - step) / pace, 1),
        )


def inherit(folders: Iterable[Path], own: Path) -> None:
    """Link the checkpoints of earlier attempts into `own`; they never change once written."""
    for folder in folders:
        for checkpoint in folder.glob("step-*"):
            checkpoints.adopt(checkpoint, own)


def keep(
    made: card.Run,
    out: Path,
    into: tuple[Artifacts, str],
    losses: Sequence[float],
    **more: Any,
) -> dict[str, Any]:
    """Describe what a job left in the folder `out`, move it into a store and return the result.

    `into` is the store and what kind of thing it is there; `more` is said in `imece.json` too.
    """
    card.write(made, out, more)
    artifacts, kind = into
    stored = artifacts.put_folder(f"{kind}/{made.job}/{made.attempt}", out)
    shutil.rmtree(out)
    return {
        "uri": stored.uri,
        "digest": stored.digest,
        "base_digest": made.base_digest,
        "metrics": {**made.metrics, "bytes": stored.size},
        "losses": thinned(losses),
    }


def child_environment(*settings: BaseSettings) -> dict[str, str]:
    """Return the variables from which a child reads these settings again; secrets stay out.

    The child inherits the environment of its service, so secrets that came that way reach it.
    """
    found = {}
    for group in settings:
        prefix = str(group.model_config.get("env_prefix", ""))
        for name, value in group.model_dump(mode="json").items():
            if value is not None and not isinstance(getattr(group, name), SecretStr):
                text = json.dumps(value) if isinstance(value, dict | list) else str(value)
                found[f"{prefix}{name}".upper()] = text
    return found


def provenance(libraries: Sequence[str]) -> dict[str, object]:
    """Return the code and library versions that a result depends on."""
    return {
        "code": code_version(),
        "libraries": {name: metadata.version(name) for name in libraries},
    }


def code_version() -> str:
    """Return ``git:<commit>`` of a checkout (``+dirty`` if edited) or ``imece==<version>``."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # an installed copy, or no git here
        return f"imece=={imece.__version__}"
    return f"git:{commit}{'+dirty' if dirty else ''}"


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
