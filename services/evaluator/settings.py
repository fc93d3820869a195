"""Settings of the evaluator: `IMECE_EVALUATOR_*`, read nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EvaluatorSettings(BaseSettings):
    """How models are asked, and how long the gate waits."""

    model_config = SettingsConfigDict(env_prefix="IMECE_EVALUATOR_", frozen=True, extra="ignore")

    policy: Path = Path(__file__).with_name("policy.toml")
    """The gate's policy file."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 24
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    batch_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Of likelihood scoring: so many tokens are run together."""
    judge_seconds: Annotated[float, Field(gt=0)] = 120
    """The gate decides without the judgements that have not come by then."""
    tick_seconds: Annotated[float, Field(gt=0)] = 0.3
    lease_seconds: Annotated[float, Field(gt=0)] = 30
    max_attempts: Annotated[int, Field(ge=1)] = 5
    timeout_seconds: Annotated[int, Field(ge=1)] = 6 * 3600
    encoder: str = ""
    """URI of an encoder for cosine similarity, as for a base model; empty takes n-grams."""
    load_rate: Annotated[float, Field(ge=0)] = 0
    """Requests a second under which a candidate's latency is measured; 0 measures none."""
    load_requests: Annotated[int, Field(ge=1, le=100_000)] = 200
