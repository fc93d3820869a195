"""Put the adapter together."""

from __future__ import annotations

from imece.runtime.app import Publish, Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs.places import places
from imece.runtime.jobs.runner import Jobs
from imece.runtime.runs import child_environment
from imece.runtime.settings import Settings
from services.adapter import store
from services.adapter.retrain import Retrains
from services.adapter.routes import results, subscriptions
from services.adapter.settings import AdapterSettings
from services.adapter.sweeps import Sweeps


def build(settings: Settings, publish: Publish, own: AdapterSettings | None = None) -> Service:
    """Return the adapter, ready to run; nothing is opened yet."""
    own = own or AdapterSettings()
    database = Database(settings.database_url("adapter"), store.METADATA, "adapter")
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
        **places(own.launcher, "adapter", settings.home / "devices", own.gpu_memory_mib),
        env=child_environment(settings, own),
    )
    sweeps = Sweeps(database, jobs, publish)
    artifacts = Artifacts(settings.artifacts_url())
    retrains = Retrains(database, jobs, artifacts, wanted=own.retrain_tainted)
    return Service(
        "adapter",
        subscriptions(jobs, sweeps, retrains),
        (jobs.run, sweeps.run, retrains.run),
        (database,),
    )
