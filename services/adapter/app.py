"""Put the adapter together."""

from __future__ import annotations

from sqlalchemy import MetaData

from imece.runtime.app import Publish, Service
from imece.runtime.database import Database
from imece.runtime.jobs import Jobs
from imece.runtime.jobs.store import define
from imece.runtime.runs import child_environment
from imece.runtime.settings import Settings
from services.adapter.routes import results, subscriptions
from services.adapter.settings import AdapterSettings


def build(settings: Settings, publish: Publish, own: AdapterSettings | None = None) -> Service:
    """Return the adapter, ready to run; nothing is opened yet."""
    own = own or AdapterSettings()
    metadata = MetaData()
    define(metadata)
    database = Database(settings.database_url("adapter"), metadata, "adapter")
    jobs = Jobs(
        database,
        publish,
        service="adapter",
        kind="adaptation",
        module="services.adapter.job",
        folder=settings.home / "jobs" / "adapter",
        results=results,
        lease_seconds=own.lease_seconds,
        max_attempts=own.max_attempts,
        start_seconds=own.start_seconds,
        silence_seconds=own.silence_seconds,
        env=child_environment(settings, own),
    )
    return Service("adapter", subscriptions(jobs), (jobs.run,), (database,))
