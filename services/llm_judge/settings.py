"""Settings of the judge: `IMECE_LLM_JUDGE_*`, read nowhere else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from imece.local.models import DEFAULT_BASE

Seconds = Annotated[float, Field(gt=0)]


class JudgeSettings(BaseSettings):
    """Which endpoint to ask, and how patiently."""

    model_config = SettingsConfigDict(env_prefix="IMECE_LLM_JUDGE_", frozen=True, extra="ignore")

    base_url: str | None = None
    """An OpenAI-compatible endpoint such as ``https://host/v1``; without it a local model."""
    model: str | None = None
    """Name of the judge model at `base_url`."""
    api_key: SecretStr = SecretStr("none")
    timeout_seconds: Seconds = 30
    """For one call."""
    deadline_seconds: Seconds = 90
    """For one judgement: both orders, repairs and retries together."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    """Judgements under way at once."""
    max_tokens: Annotated[int, Field(ge=8, le=100_000)] = 200
    local_model: str = DEFAULT_BASE
    """Source of the local judge, used without `base_url`."""
    poll_seconds: Seconds = 0.5
