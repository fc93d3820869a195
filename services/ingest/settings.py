"""Settings of ingest: `IMECE_INGEST_*`, read nowhere else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.ingest.admit import Limits
from services.ingest.core import Shares

Share = Annotated[float, Field(ge=0, lt=0.5)]
Similarity = Annotated[float, Field(gt=0, le=1)]


class IngestSettings(BaseSettings):
    """When data set versions close, how rows split, and what counts as nearly the same."""

    model_config = SettingsConfigDict(env_prefix="IMECE_INGEST_", frozen=True, extra="ignore")

    quiet_seconds: Annotated[float, Field(gt=0)] = 2
    """A set that got nothing for so long becomes a version."""
    longest_seconds: Annotated[float, Field(gt=0)] = 120
    """A row waits at most so long for its version, also in a set that is never quiet."""
    max_rows: Annotated[int, Field(ge=1)] = 50_000
    """So many waiting rows become a version at once."""
    part_rows: Annotated[int, Field(ge=1)] = 5_000
    """Rows in one Parquet file."""
    tick_seconds: Annotated[float, Field(gt=0)] = 0.25
    validation_share: Share = 0.05
    test_share: Share = 0.05
    duplicate: Similarity = 0.9
    """Jaccard similarity from which a record with the same answer is refused."""
    cluster: Similarity = 0.7
    """Jaccard similarity from which records stay in one split."""

    def limits(self) -> Limits:
        """Return what admission needs of these settings."""
        shares = Shares(self.validation_share, self.test_share)
        return Limits(self.duplicate, self.cluster, shares)
