"""Kafka handlers of ingest."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence

from prometheus_client import Counter

from imece.events import (
    AdapterTrained,
    Envelope,
    FeedbackDecided,
    FeedbackRevoked,
    RecordRejected,
    RecordSubmitted,
    caused,
    derived_id,
    new,
)
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.delivery import Rejected, Subscription, batch
from services.ingest import core, near, store, taint
from services.ingest.admit import Limits, Origin
from services.ingest.versions import SOURCE, Versions

_RECORDS = Counter("imece_ingest_records", "Records by what became of them", ["outcome"])


class Routes:
    """Handlers: load, decide, save, publish."""

    def __init__(
        self, database: Database, publish: Publish, versions: Versions, limits: Limits
    ) -> None:
        self._database = database
        self._publish = publish
        self._versions = versions
        self._limits = limits

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what ingest consumes."""
        return (
            batch(RecordSubmitted, self.on_records, self.on_rejected),
            batch(FeedbackDecided, self.on_decisions),
            batch(FeedbackRevoked, self.on_revocations),
            batch(AdapterTrained, self.on_adapters),
        )

    async def on_records(self, events: Sequence[Envelope[RecordSubmitted]]) -> None:
        arrivals = [core.from_record(event) for event in events]
        fates = await self._take(arrivals)
        refused = []
        for event, arrival in zip(events, arrivals, strict=True):
            fate = fates[arrival.key]
            if event.data.record is not None:
                _RECORDS.labels(fate.reason or "accepted").inc()
            if fate.reason is not None:
                refused.append(caused(_rejection(event, fate), SOURCE, event))
        await self._publish(*refused)

    async def on_rejected(self, rejected: Rejected) -> None:
        """Tell upstream about a record that is no valid event; it is parked besides."""
        _RECORDS.labels("invalid").inc()
        event = RecordRejected(
            record_set=core.record_set_of(rejected.key),
            event_id=rejected.id or "unknown",
            event_source=rejected.source or "unknown",
            reason=rejected.reason,
            message=core.printable(rejected.message),
            pointer=core.printable(rejected.pointer),
        )
        bytes_hash = hashlib.sha256(rejected.value).hexdigest()
        id = derived_id(rejected.source, rejected.id, rejected.key, bytes_hash, rejected.reason)
        await self._publish(new(event, SOURCE, id))

    async def on_decisions(self, events: Sequence[Envelope[FeedbackDecided]]) -> None:
        await self._take([core.from_decision(event) for event in events])

    async def on_revocations(self, events: Sequence[Envelope[FeedbackRevoked]]) -> None:
        await self._take([core.from_revocation(event) for event in events])

    async def on_adapters(self, events: Sequence[Envelope[AdapterTrained]]) -> None:
        rows = [row for event in events if (row := core.adapter_row(event.data)) is not None]
        await self._database.run(taint.add, rows)
        self._versions.wake()

    async def _take(self, arrivals: Sequence[core.Arrival]) -> dict[str, Origin]:
        new_rows = {a.row.row_id: a.row for a in arrivals if a.row is not None}
        found = await asyncio.to_thread(near.keys, list(new_rows.values()))
        keys = dict(zip(new_rows, found, strict=True))
        fates = await self._database.run(store.take, arrivals, keys, self._limits, time.time())
        self._versions.wake()
        return fates


def _rejection(event: Envelope[RecordSubmitted], fate: Origin) -> RecordRejected:
    return RecordRejected(
        record_set=event.data.record_set,
        event_id=event.id,
        event_source=event.source,
        reason=fate.reason or "",
        message=fate.message,
        pointer="/record",
    )
