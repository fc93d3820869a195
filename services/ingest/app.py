"""Put ingest together."""

from __future__ import annotations

from imece.runtime.app import Publish, Service
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.ingest import tables
from services.ingest.routes import Routes
from services.ingest.settings import IngestSettings
from services.ingest.versions import Versions


def build(settings: Settings, publish: Publish, own: IngestSettings | None = None) -> Service:
    """Return ingest, ready to run; nothing is opened yet."""
    own = own or IngestSettings()
    database = Database(settings.database_url("ingest"), tables.METADATA, "ingest")
    versions = Versions(database, Artifacts(settings.artifacts_url()), publish, own)
    routes = Routes(database, publish, versions, own.limits())
    return Service("ingest", routes.subscriptions(), (versions.run,), (database,))
