"""Put feedback-guard together."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from imece import tokens
from imece.errors import ConfigError
from imece.runtime.app import Publish, Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.feedback_guard import store
from services.feedback_guard.policy import load
from services.feedback_guard.routes import Routes
from services.feedback_guard.settings import GuardSettings

if TYPE_CHECKING:
    from services.feedback_guard.scorers import Scorers


def build(settings: Settings, publish: Publish, own: GuardSettings | None = None) -> Service:
    """Return the guard, ready to run; nothing is opened yet."""
    own = own or GuardSettings()
    policy, keys = load(own.policy), tokens.parse_keys(own.token_keys.get_secret_value())
    if policy.admission.tokens == "required" and not keys:
        raise ConfigError("the policy requires tokens: set IMECE_FEEDBACK_GUARD_TOKEN_KEYS")
    database = Database(settings.database_url("feedback-guard"), store.METADATA, "feedback-guard")
    artifacts = Artifacts(settings.artifacts_url())
    scorers = _scorers(settings, own, artifacts)
    ask = scorers.score if scorers else None
    routes = Routes(database, artifacts, publish, policy, keys, scores=ask)
    resources = (database, scorers) if scorers else (database,)
    return Service("feedback-guard", routes.subscriptions(), (), resources)


def _scorers(settings: Settings, own: GuardSettings, artifacts: Artifacts) -> Scorers | None:
    if not (own.injection_model or own.toxicity_model):
        return None
    try:
        module = importlib.import_module("services.feedback_guard.scorers")  # only now torch
    except ImportError as error:
        raise ConfigError(
            f"IMECE_FEEDBACK_GUARD_*_MODEL needs torch and transformers: {error}"
        ) from error
    made: Scorers = module.Scorers(
        own.injection_model, own.toxicity_model, artifacts, settings.cache
    )
    return made
