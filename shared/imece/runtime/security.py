"""Kafka client arguments for TLS and SASL, from the settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from imece.errors import ConfigError
from imece.runtime.settings import Settings


def kafka_security(settings: Settings) -> dict[str, Any]:
    """Return the aiokafka arguments for the configured protocol; never logs the password."""
    protocol = settings.kafka_security
    if protocol == "PLAINTEXT":
        return {}
    arguments: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        arguments["ssl_context"] = _trust(settings.kafka_ca)
    if protocol.startswith("SASL"):
        if not settings.kafka_username or settings.kafka_password is None:
            raise ConfigError(f"{protocol} needs IMECE_KAFKA_USERNAME and IMECE_KAFKA_PASSWORD")
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return arguments


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:  # SSLError is one too
        raise ConfigError(f"IMECE_KAFKA_CA={ca} is no file of PEM certificates: {error}") from error
