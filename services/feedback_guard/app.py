"""Put feedback-guard together."""

from __future__ import annotations

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
    policy = load((own or GuardSettings()).policy)
    database = Database(settings.database_url("feedback-guard"), store.METADATA, "feedback-guard")
    routes = Routes(database, Artifacts(settings.artifacts_url()), publish, policy)
    return Service("feedback-guard", routes.subscriptions(), (), (database,))
