"""Settings of the trainer: `IMECE_TRAINER_*`, read nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrainerSettings(BaseSettings):
    """How jobs run."""

    model_config = SettingsConfigDict(env_prefix="IMECE_TRAINER_", frozen=True, extra="ignore")

    checkpoint_seconds: Annotated[float, Field(gt=0)] = 20
    """A killed job loses at most so much work."""
    contamination: Literal["off", "warn", "refuse"] = "warn"
    """What to do where documents hold cases of the suites that the request names."""
    launcher: Literal["process", "kubernetes"] = "process"
    """Where attempts run: as processes of this machine, or as Jobs of a cluster (IMECE_PODS_*)."""
    lease_seconds: Annotated[float, Field(gt=0)] = 30
    """A job whose runner is silent for so long is taken over."""
    max_attempts: Annotated[int, Field(ge=1)] = 5
    gpu_memory_mib: Annotated[int, Field(ge=0)] = 2048
    """A GPU with less memory free gets no job; a machine without GPUs runs jobs on its CPU."""
    start_seconds: Annotated[float, Field(gt=0)] | None = None
    """A job that no attempt began within so long fails; without it jobs wait for ever."""
    silence_seconds: Annotated[float, Field(gt=0)] | None = 1800
    """A child without progress or a log line for so long hangs: it is killed and tried again."""
