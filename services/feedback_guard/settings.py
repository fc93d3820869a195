"""Settings of feedback-guard; the only reader of its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GuardSettings(BaseSettings):
    """Environment variables with the prefix ``IMECE_FEEDBACK_GUARD_``."""

    model_config = SettingsConfigDict(env_prefix="IMECE_FEEDBACK_GUARD_", frozen=True)

    policy: Path = Path(__file__).with_name("policy.toml")
    """The policy file; its version is named in every decision."""
    token_keys: SecretStr = SecretStr("")
    """``id:secret,id:secret``: the keys of feedback tokens; any of them verifies."""
    injection_model: str = ""
    """Folder, or artifact ``URI#sha256=HEX``, of a classifier of orders; empty is off."""
    toxicity_model: str = ""
    """The same for harmful texts; both are safetensors and need torch and transformers."""
    tests: Path | None = None
    """TOML file of functions and what they return: code answers are run. Needs bubblewrap."""
    sandbox: str = "bwrap"
