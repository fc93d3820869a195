"""Put feedback-guard together."""

from __future__ import annotations

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


def build(settings: Settings, publish: Publish, own: GuardSettings | None = None) -> Service:
    """Return the guard, ready to run; nothing is opened yet."""
    own = own or GuardSettings()
    policy, keys = load(own.policy), tokens.parse_keys(own.token_keys.get_secret_value())
    if policy.admission.tokens == "required" and not keys:
        raise ConfigError("the policy requires tokens: set IMECE_FEEDBACK_GUARD_TOKEN_KEYS")
    database = Database(settings.database_url("feedback-guard"), store.METADATA, "feedback-guard")
    routes = Routes(database, Artifacts(settings.artifacts_url()), publish, policy, keys)
    return Service("feedback-guard", routes.subscriptions(), (), (database,))
