"""Put the trainer together."""

from __future__ import annotations

from sqlalchemy import MetaData

from imece.runtime.app import Publish, Service
from imece.runtime.database import Database
from imece.runtime.jobs.places import places
from imece.runtime.jobs.runner import Jobs
from imece.runtime.jobs.store import define
from imece.runtime.runs import child_environment
from imece.runtime.settings import Settings
from services.trainer.routes import results, subscriptions
from services.trainer.settings import TrainerSettings


def build(settings: Settings, publish: Publish, own: TrainerSettings | None = None) -> Service:
    """Return the trainer, ready to run; nothing is opened yet."""
    own = own or TrainerSettings()
    metadata = MetaData()
    define(metadata)
    database = Database(settings.database_url("trainer"), metadata, "trainer")
    jobs = Jobs(
        database,
        publish,
        service="trainer",
        kind="training",
        module="services.trainer.job",
        folder=settings.home / "jobs" / "trainer",
        results=results,
        lease_seconds=own.lease_seconds,
        max_attempts=own.max_attempts,
        start_seconds=own.start_seconds,
        silence_seconds=own.silence_seconds,
        **places(own.launcher, "trainer", settings.home / "devices", own.gpu_memory_mib),
        env=child_environment(settings, own),
    )
    return Service("trainer", subscriptions(jobs), (jobs.run,), (database,))
