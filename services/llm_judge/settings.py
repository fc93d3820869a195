"""Settings of the judge: `IMECE_LLM_JUDGE_*`, read nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from imece.local.models import DEFAULT_BASE
from services.llm_judge.endpoint import Prices

Seconds = Annotated[float, Field(gt=0)]


class JudgeModel(BaseModel):
    """One judge of a stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    """An OpenAI-compatible endpoint such as ``https://host/v1``."""
    model: str
    api_key: SecretStr = SecretStr("none")
    family: str | None = None
    """Who made the model; guessed from its name when not given."""
    prices: Prices | None = None


class StageSettings(BaseModel):
    """Judges asked together, and the share of agreeing votes that settles it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judges: Annotated[tuple[JudgeModel, ...], Field(min_length=1)]
    accept: Annotated[float, Field(gt=0, le=1)] = 1.0


class JudgeSettings(BaseSettings):
    """Whom to ask, how patiently, and for how much."""

    model_config = SettingsConfigDict(env_prefix="IMECE_LLM_JUDGE_", frozen=True, extra="ignore")

    base_url: str | None = None
    """An OpenAI-compatible endpoint such as ``https://host/v1``; without it a local model."""
    model: str | None = None
    """Name of the judge model at `base_url`."""
    api_key: SecretStr = SecretStr("none")
    family: str | None = None
    prices: Prices | None = None
    """JSON such as ``{"read": 0.15, "written": 0.6}``: money for a million tokens."""
    stages: tuple[StageSettings, ...] = ()
    """JSON list of stages, cheap judges first; replaces `base_url` and `model`."""
    timeout_seconds: Seconds = 30
    """For one call."""
    deadline_seconds: Seconds = 90
    """For one judgement: both orders, repairs and retries together."""
    patience_seconds: Annotated[float, Field(ge=0)] = 3600
    """How long a request that meets passing trouble is parked and tried again."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    """Judgements under way at once."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Judgements that share their known-answer probes."""
    probes: Annotated[int, Field(ge=0, le=8)] = 2
    """Known-answer probes a batch; a wrong one voids the batch."""
    budget_money: Annotated[float, Field(gt=0)] | None = None
    """What one evaluation may cost at most; needs prices."""
    budget_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens that one evaluation may read and write at most."""
    max_tokens: Annotated[int, Field(ge=8, le=100_000)] = 200
    local_model: str = DEFAULT_BASE
    """Source of the local judge, used without `base_url`."""
    calibration: Path | None = None
    """Calibration written by `imece judge calibrate`; without it verdicts only rank."""
    poll_seconds: Seconds = 0.5
