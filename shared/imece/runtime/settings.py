"""Settings that all services share; the only reader of the `IMECE_*` environment here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are. Every field is an environment variable with the prefix ``IMECE_``."""

    model_config = SettingsConfigDict(env_prefix="IMECE_", frozen=True, extra="ignore")

    home: Path = Path.home() / ".local/share/imece"
    """State, artifacts and the embedded broker's data."""
    cache: Path = Path.home() / ".cache/imece"
    """Things that can be fetched again: Kafka jars, base models, copies of artifacts."""
    kafka: str | None = None
    """``host:port[,host:port]`` of a broker; without it the embedded broker of `home` is used."""
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca: Path | None = None
    """CA certificate file; the system's certificates when it is not set."""
    replication: int = 1
    """Replication factor of topics that imece creates."""
    database: str | None = None
    """SQLAlchemy URL, e.g. ``postgresql+psycopg://…``; without it one SQLite file a service."""
    artifacts: str | None = None
    """``s3://bucket/prefix`` or a folder; without it ``<home>/artifacts``."""
    tracking: str | None = None
    """MLflow for `imece track`: ``sqlite:///file`` or ``http(s)://server``; without it
    ``<home>/mlflow.db``."""
    http: str = "127.0.0.1:0"
    """Address for /livez, /readyz and /metrics; port 0 picks a free one (see `imece status`)."""
    forbidden_licenses: str = ""
    """Licences whose base models no job may use, comma-separated: ``cc-by-nc-*,unknown``."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def database_url(self, service: str) -> str:
        """Return the database URL of `service`."""
        return self.database or f"sqlite:///{self.home / f'{service}.db'}"

    def artifacts_url(self) -> str:
        """Return the URL of the artifact store."""
        return self.artifacts or str(self.home / "artifacts")
