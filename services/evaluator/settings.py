"""Settings of the evaluator: `IMECE_EVALUATOR_*`, read nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from imece.errors import ConfigError

ENDPOINT = "endpoint:"
"""Begins the base of a model behind an endpoint; the name among the settings follows."""


class ModelEndpoint(BaseModel):
    """A model to test behind an OpenAI-compatible endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    model: str
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself stands nowhere else."""
    family: str | None = None
    """Who made the model; guessed from its name when not given."""
    calls: Annotated[int, Field(ge=1, le=256)] = 8
    """At once, at most."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60
    """For one call."""
    deadline_seconds: Annotated[float, Field(gt=0)] = 300
    """For one answer with all retries; so long without any answer, and it is given up."""

    def key(self) -> str:
        """Return the key; `ConfigError` when its variable is not set."""
        if self.api_key_env is None:
            return "none"
        found = os.environ.get(self.api_key_env)  # noqa: TID251 - this is a settings module
        if not found:
            raise ConfigError(f"{self.api_key_env} is not set; it has to hold the endpoint's key")
        return found


class EvaluatorSettings(BaseSettings):
    """How models are asked, and how long the gate waits."""

    model_config = SettingsConfigDict(env_prefix="IMECE_EVALUATOR_", frozen=True, extra="ignore")

    policy: Path = Path(__file__).with_name("policy.toml")
    """The gate's policy file."""
    endpoints: dict[str, ModelEndpoint] = {}
    """JSON object by name; a model `endpoint:NAME` is asked there."""
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
