"""Put the evaluator together."""

from __future__ import annotations

from imece.runtime.app import Publish, Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs.runner import Jobs
from imece.runtime.runs import child_environment
from imece.runtime.settings import Settings
from services.evaluator import store
from services.evaluator.decider import Decider
from services.evaluator.policy import read_policy
from services.evaluator.routes import Routes, failures, results
from services.evaluator.settings import EvaluatorSettings


def build(settings: Settings, publish: Publish, own: EvaluatorSettings | None = None) -> Service:
    """Return the evaluator, ready to run; nothing is opened yet."""
    own = own or EvaluatorSettings()
    database = Database(settings.database_url("evaluator"), store.METADATA, "evaluator")
    jobs = Jobs(
        database,
        publish,
        service="evaluator",
        kind="evaluation",
        module="services.evaluator.job",
        folder=settings.home / "jobs" / "evaluator",
        results=results,
        failures=failures,
        lease_seconds=own.lease_seconds,
        max_attempts=own.max_attempts,
        env=child_environment(settings, own),
    )
    decider = Decider(
        database,
        Artifacts(settings.artifacts_url()),
        publish,
        read_policy(own.policy),
        judge_seconds=own.judge_seconds,
        tick_seconds=own.tick_seconds,
    )
    routes = Routes(database, jobs, publish, own.timeout_seconds)
    return Service("evaluator", routes.subscriptions(), (jobs.run, decider.run), (database,))
