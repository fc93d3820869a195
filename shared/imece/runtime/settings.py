"""Settings that all services share; the only reader of the `IMECE_*` environment here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError


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


class PodSettings(BaseSettings):
    """How attempts run as Kubernetes Jobs: ``IMECE_PODS_*``, for ``launcher=kubernetes``."""

    model_config = SettingsConfigDict(env_prefix="IMECE_PODS_", frozen=True, extra="ignore")

    namespace: str = ""
    """Without it, that of the service's own pod."""
    image: str = ""
    """Without it ``imece/<service>:local``; it has to be the image of the service."""
    secret: str = "imece-settings"
    """Secret with the addresses of Kafka, database and artifacts."""
    state_claim: str = "imece-state"
    """Claim of the volume that runners and pods share as ``IMECE_HOME`` (/state)."""
    cache_claim: str = "imece-cache"
    """Claim of the volume with the models (/cache)."""
    per_node: Annotated[int, Field(ge=1, le=64)] = 8
    """A pod gets at most so many of a job's devices; more are spread over several pods."""
    gpu: str = "nvidia.com/gpu"
    """Resource that each process asks for; empty: none, it computes on the CPU."""
    cpu: str = "2"
    memory: str = "16Gi"
    """Requests of one pod; memory is its limit too."""
    poll_seconds: Annotated[float, Field(ge=0)] = 2
    """How often the cluster is asked how an attempt is."""
    at_once: Annotated[int, Field(ge=1, le=1000)] = 8
    """How many jobs one runner has in the cluster; what finds no room there waits there."""
    keep_seconds: Annotated[int, Field(ge=0)] = 3600
    """Finished Jobs whose runner died stay visible for so long."""


def complaint(error: ValidationError | SettingsError) -> str | None:
    """Say which environment variable is wrong, and how; None: `error` is about no settings.

    Values are not repeated, since they may be secrets.
    """
    if isinstance(error, SettingsError):
        return f"a setting of several values is not JSON: {error}"
    prefixes = {group.__name__: group.model_config for group in BaseSettings.__subclasses__()}
    if error.title not in prefixes:
        return None
    first = error.errors(include_input=False)[0]
    field, *inside = (str(part) for part in first["loc"]) if first["loc"] else ("*",)
    name = f"{prefixes[error.title].get('env_prefix', '')}{field.upper()}"
    return f"{'/'.join((name, *inside))}: {first['msg']}"
