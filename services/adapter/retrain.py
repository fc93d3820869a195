"""Adapters that learned rows which were taken out since are trained again without them.

A taint waits until new versions of the data sets leave out as many rows as it counts; the new
job is the old request on those versions, so its gate is the old one too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from imece.errors import RejectedError, UnavailableError
from imece.events import AdapterTainted, DatasetPublished, DatasetRef, Envelope, derived_id
from imece.runtime import datasets
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs import Job, JobRequest
from imece.runtime.jobs.model import SPLIT
from imece.runtime.jobs.runner import Jobs
from services.adapter import store
from services.adapter.sweep import TRIAL

log = structlog.get_logger()


class Retrains:
    """All tainted adapters that wait for clean data sets."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        artifacts: Artifacts,
        *,
        wanted: bool,
        tick_seconds: float = 2,
    ) -> None:
        self._database, self._jobs, self._artifacts = database, jobs, artifacts
        self._wanted, self._tick = wanted, tick_seconds

    async def on_published(self, event: Envelope[DatasetPublished]) -> None:
        """Remember the newest version of a data set."""
        ref = event.data.ref
        await self._database.run(
            store.keep_version, ref.dataset, ref.version, ref.model_dump(mode="json")
        )

    async def on_tainted(self, event: Envelope[AdapterTainted]) -> None:
        """Remember a taint that this adapter should be freed of; only say so without the policy."""
        if not self._wanted:
            log.warning(
                "adapter.tainted",
                model=event.data.model,
                revoked=event.data.revoked,
                hint="IMECE_ADAPTER_RETRAIN_TAINTED=true trains it again without those rows",
            )
            return
        await self._database.run(
            store.keep_taint,
            event.data.adapter_digest,
            event.data.model_dump(mode="json"),
            event.traceparent,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Look whether waiting taints can be lifted, until `stop`."""
        while not stop.is_set():
            try:
                await self.tick()
            except UnavailableError as error:
                log.warning("retrain.postponed", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._tick)

    async def tick(self) -> None:
        """Queue a job for each waiting taint that clean versions are there for."""
        for taint in await self._database.run(store.taints):
            event = AdapterTainted.model_validate(taint.event, extra="ignore")
            fresh = await self._fresh(event.datasets)
            clean = await asyncio.to_thread(self._left_out, event.datasets, fresh)
            if clean >= event.revoked:
                await self._queue(event, fresh, taint.traceparent)

    async def _fresh(self, refs: Sequence[DatasetRef]) -> list[DatasetRef]:
        known = await self._database.run(store.versions, [ref.dataset for ref in refs])
        newest = [DatasetRef(**known[ref.dataset]) if ref.dataset in known else ref for ref in refs]
        return [max(pair, key=lambda ref: ref.version) for pair in zip(refs, newest, strict=True)]

    def _left_out(self, learned: Sequence[DatasetRef], fresh: Sequence[DatasetRef]) -> int:
        """Return how many rows the new versions leave out and the learned ones did not."""
        try:
            return sum(
                len(self._revoked(new) - self._revoked(old))
                for old, new in zip(learned, fresh, strict=True)
                if old.digest != new.digest
            )
        except RejectedError as error:
            log.warning("retrain.postponed", error=str(error))
            return 0

    def _revoked(self, ref: DatasetRef) -> set[str]:
        return set(datasets.read_manifest(self._artifacts, ref)["revoked"])

    async def _queue(
        self, event: AdapterTainted, fresh: Sequence[DatasetRef], traceparent: str | None
    ) -> None:
        made = await self._database.run(store.maker, event.adapter_digest)
        if made is None:
            log.warning("retrain.unknown", model=event.model, digest=event.adapter_digest)
        else:
            await self._jobs.queue(_again(made, event.adapter_digest, fresh), traceparent)
            log.info("retrain.queued", model=event.model, revoked=event.revoked)
        await self._database.run(store.drop_taint, event.adapter_digest)


def _again(made: Job, digest: str, fresh: Sequence[DatasetRef]) -> JobRequest:
    kept = {key: value for key, value in made.request.items() if key not in (TRIAL, SPLIT)}
    return JobRequest(
        id=derived_id("retrain", digest),
        model=made.model,
        request={**kept, "datasets": [ref.model_dump(mode="json") for ref in fresh]},
        priority=made.priority,
        timeout_seconds=made.timeout_seconds,
    )
