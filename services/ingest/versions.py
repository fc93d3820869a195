"""Close data set versions, write them, announce them; every step can be repeated after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from prometheus_client import Counter

from imece.events import (
    AdapterTainted,
    AuditRecorded,
    DatasetPublished,
    DatasetRef,
    derived_id,
    new,
)
from imece.runtime.app import Publish
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.database import Database
from services.ingest import core, parquet, store, taint
from services.ingest.settings import IngestSettings
from services.ingest.tables import Tainted, Version

SOURCE = "imece/ingest"
_LOG = structlog.get_logger()
_VERSIONS = Counter("imece_ingest_versions", "Data set versions announced")
_TAINTED = Counter("imece_ingest_tainted", "Adapters announced as trained on revoked rows")


class Versions:
    """The only writer of data set versions in this process."""

    def __init__(
        self, database: Database, artifacts: Artifacts, publish: Publish, settings: IngestSettings
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._publish = publish
        self._settings = settings
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for finished sets now instead of at the next tick."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Close, write and announce until `stop`; first what an earlier process left unfinished."""
        while not stop.is_set():
            self._wake.clear()
            await self.settle(time.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._settings.tick_seconds)

    async def settle(self, now: float) -> None:
        """Close what is due, then finish every version and taint that is not announced."""
        limits = self._settings
        await self._database.run(
            store.close_due, now, limits.quiet_seconds, limits.longest_seconds, limits.max_rows
        )
        for dataset, number in await self._database.run(store.closing):
            await self._finish(dataset, number)
        for adapter in await self._database.run(taint.waiting):
            await self._taint(adapter)

    async def _finish(self, dataset: str, number: int) -> None:
        version = await self._database.run(store.version, dataset, number)
        if version.digest is None:
            await self._write(version)
            version = await self._database.run(store.version, dataset, number)
        event = _announcement(version)
        detail = f"{event.rows} rows, {event.added} new, {event.ref.digest}"
        audit = AuditRecorded(
            service="ingest",
            action="dataset-published",
            subject=f"{dataset}@{number}",
            actor="ingest",
            detail=detail,
        )
        await self._publish(
            new(event, SOURCE, derived_id(SOURCE, "dataset", dataset, number)),
            new(audit, SOURCE, derived_id(SOURCE, "dataset-audit", dataset, number)),
        )
        await self._database.run(store.published, dataset, number)
        _VERSIONS.inc()
        _LOG.info("dataset published", dataset=dataset, version=number, detail=detail)

    async def _write(self, version: Version) -> None:
        """Write the parts, then the manifest, then remember where."""
        dataset, number = version.dataset, version.version
        where = core.folder(dataset, number)
        parts = await self._write_parts(dataset, number, where)
        earlier = await self._database.run(store.parts_before, dataset, number)
        manifest = core.manifest(
            dataset,
            number,
            parent=version.parent,
            created=version.created,
            parts=[*earlier, *parts],
            summary=version.summary,
        )
        data = canonical_json(manifest)
        stored = await asyncio.to_thread(self._artifacts.put, f"{where}/manifest.json", data)
        await self._database.run(store.written, dataset, number, parts, stored)

    async def _write_parts(self, dataset: str, number: int, where: str) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        size, after = self._settings.part_rows, ""
        while rows := await self._database.run(store.rows_of, dataset, number, after, size):
            data = await asyncio.to_thread(parquet.part, rows)
            path = f"{where}/part-{len(parts):04d}.parquet"
            stored = await asyncio.to_thread(self._artifacts.put, path, data)
            parts.append(
                {
                    "uri": stored.uri,
                    "digest": stored.digest,
                    "rows": len(rows),
                    "added_in": number,
                }
            )
            after = rows[-1]["row_id"]
        return parts

    async def _taint(self, adapter: Tainted) -> None:
        event = AdapterTainted(
            model=adapter.model,
            adapter_digest=adapter.digest,
            datasets=tuple(DatasetRef.model_validate(ref) for ref in adapter.datasets),
            revoked=adapter.revoked,
        )
        await self._publish(new(event, SOURCE, derived_id(SOURCE, "tainted", adapter.digest)))
        await self._database.run(taint.announced, adapter.digest)
        _TAINTED.inc()
        _LOG.warning("adapter tainted", model=adapter.model, revoked=adapter.revoked)


def _announcement(version: Version) -> DatasetPublished:
    return DatasetPublished(
        dataset=version.dataset,
        ref=DatasetRef(
            dataset=version.dataset,
            version=version.version,
            digest=version.digest or "",
            uri=version.uri or "",
        ),
        parent=version.parent,
        rows=version.summary["rows"],
        added=version.added,
        kinds=version.summary["kinds"],
        splits=version.summary["splits"],
    )
