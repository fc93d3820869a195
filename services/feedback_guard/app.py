"""Put feedback-guard together."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from imece import tokens
from imece.errors import ConfigError
from imece.runtime.app import Publish, Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.card import data_sets
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.feedback_guard import tables, unit_tests
from services.feedback_guard.policy import Policy, load
from services.feedback_guard.routes import Routes
from services.feedback_guard.sandbox import Sandbox
from services.feedback_guard.settings import GuardSettings
from services.feedback_guard.testing import Checker

if TYPE_CHECKING:
    from services.feedback_guard.scorers import Scorers


def build(settings: Settings, publish: Publish, own: GuardSettings | None = None) -> Service:
    """Return the guard, ready to run; nothing is opened yet."""
    own = own or GuardSettings()
    policy, keys = load(own.policy), tokens.parse_keys(own.token_keys.get_secret_value())
    if policy.admission.tokens == "required" and not keys:
        raise ConfigError("the policy requires tokens: set IMECE_FEEDBACK_GUARD_TOKEN_KEYS")
    _check_lineage(policy)
    database = tables.database(settings.database_url("feedback-guard"))
    artifacts = Artifacts(settings.artifacts_url())
    scorers = _scorers(settings, own, artifacts)
    ask = scorers.score if scorers else None
    routes = Routes(database, artifacts, publish, policy, keys, scores=ask)
    testing = _testing(own, database, publish)
    resources = tuple(each for each in (database, scorers, testing) if each is not None)
    background = (testing.run,) if testing else ()
    return Service("feedback-guard", routes.subscriptions(), background, resources)


def _testing(own: GuardSettings, database: Database, publish: Publish) -> Checker | None:
    if own.tests is None:
        return None
    return Checker(database, publish, unit_tests.load(own.tests), Sandbox(own.sandbox))


def _check_lineage(policy: Policy) -> None:
    """Refuse a local reference model of ours that learned from more than trusted records.

    Only a folder has a card to look at; who serves an endpoint has to know what is behind it.
    """
    for judge in policy.reference.judges:
        folder = Path(judge.removeprefix("imece-local/").removesuffix(" (weak)"))
        card = folder / "README.md"
        if not card.is_file():
            continue
        learned = data_sets(card.read_text("utf-8"))
        if learned is not None and (rest := learned - set(policy.trusted_record_sets)):
            raise ConfigError(
                f"[reference] {folder}: its card says that it learned from {min(rest)!r}, which is"
                " not among trusted_record_sets; name a model that has seen no users' feedback"
            )


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
