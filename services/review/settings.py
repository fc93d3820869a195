"""Settings of the review queue: `IMECE_REVIEW_*`, read nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ReviewSettings(BaseSettings):
    """Where the page is and who may administer it."""

    model_config = SettingsConfigDict(env_prefix="IMECE_REVIEW_", frozen=True, extra="ignore")

    http: str = "127.0.0.1:0"
    """Address of the page; port 0 picks a free one, which `imece review page` tells."""
    policy: Path = Path(__file__).with_name("policy.toml")
    admin_token: SecretStr | None = None
    """What `imece review` signs in with; without it a new one is written below `IMECE_HOME`."""
    poll_seconds: Annotated[float, Field(gt=0)] = 1
    """How often answers that became final are looked for."""
