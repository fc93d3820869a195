"""The policy of the queue: one versioned file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imece.errors import ConfigError

Probability = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=0.5)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(_Part):
    """Probability that an item is asked, by the rules that apply to it; the highest one counts."""

    low: Probability = 0.02
    medium: Probability = 0.2
    high: Probability = 1
    safety: Probability = 1
    uncertain: Probability = 1
    quarantined: Probability = 1
    floor: Probability = 0.02


class Checks(_Part):
    """Share of the questions that check the reviewer."""

    gold: Share = 0.08
    repeat: Share = 0.05
    repeat_after: Annotated[int, Field(ge=1)] = 5


class Policy(_Part):
    """All of it."""

    version: str = "1"
    answers: Annotated[int, Field(ge=1, le=20)] = 2
    lease_seconds: Annotated[float, Field(gt=0)] = 600
    undo_seconds: Annotated[float, Field(ge=0)] = 120
    most_skips: Annotated[int, Field(ge=1)] = 3
    sampling: Sampling = Sampling()
    checks: Checks = Checks()


def load(path: Path) -> Policy:
    """Read a policy file; `ConfigError` names what is wrong with it."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"review policy {path}: {error}") from error
