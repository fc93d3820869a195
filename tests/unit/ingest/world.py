"""Ingest without Kafka: its handlers, its state on SQLite, a list instead of a broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imece.events import (
    DatasetPublished,
    DatasetRef,
    Envelope,
    Event,
    FeedbackDecided,
    FeedbackRevoked,
    Instruction,
    Record,
    RecordSubmitted,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.datasets import Row, read
from services.ingest import tables
from services.ingest.routes import Routes
from services.ingest.settings import IngestSettings
from services.ingest.versions import Versions

MOMENT = datetime(2026, 5, 4, 12, tzinfo=UTC)
WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty"]


class World:
    """One running ingest; `url` names another database than a file in `folder`."""

    url: str | None = None

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.published: list[Envelope[Any]] = []
        url = self.url or f"sqlite:///{folder / 'ingest.db'}"
        self.database = Database(url, tables.METADATA, "ingest")
        self.artifacts = Artifacts(str(folder / "artifacts"))
        self.settings = IngestSettings(**settings)
        self.versions = Versions(self.database, self.artifacts, self.publish, self.settings)
        self.routes = Routes(self.database, self.publish, self.versions, self.settings.limits())

    async def __aenter__(self) -> World:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()

    async def publish(self, *events: Envelope[Any]) -> None:
        self.published.extend(events)

    async def submit(self, *events: Envelope[RecordSubmitted]) -> None:
        await self.routes.on_records(events)

    async def decide(self, *events: Envelope[FeedbackDecided]) -> None:
        await self.routes.on_decisions(events)

    async def revoke(self, *events: Envelope[FeedbackRevoked]) -> None:
        await self.routes.on_revocations(events)

    async def settle(self) -> None:
        """Let so much time pass that every set is quiet."""
        await self.versions.settle(time.time() + 1_000)

    def sent(self, kind: type[Event]) -> list[Any]:
        """Return the data of what a reader sees, who drops repeated ids."""
        seen = {(e.source, e.id): e.data for e in self.published if isinstance(e.data, kind)}
        return list(seen.values())

    def refs(self, dataset: str = "facts") -> list[DatasetRef]:
        return [e.ref for e in self.sent(DatasetPublished) if e.dataset == dataset]

    def rows(self, dataset: str = "facts") -> list[Row]:
        """Return the rows of the newest version."""
        return read(self.artifacts, self.refs(dataset)[-1])


def instruction(number: int, answer: str = "yes") -> Instruction:
    """Return an instruction that resembles no other."""
    first, second = WORDS[number % len(WORDS)], WORDS[number // len(WORDS) % len(WORDS)]
    return Instruction(prompt=f"{first} {second} {number * 7919}?", response=answer)


def submitted(
    record: Record | None,
    id: str,
    *,
    dataset: str = "facts",
    ends: bool = False,
    source: str = "test",
) -> Envelope[RecordSubmitted]:
    data = RecordSubmitted(record_set=dataset, record=record, ends_set=ends)
    return Envelope(data, id, source, MOMENT)


def decided(
    feedback: str,
    row: Instruction | None,
    *,
    verdict: str = "accept",
    version: int = 1,
    dataset: str = "facts",
) -> Envelope[FeedbackDecided]:
    data = FeedbackDecided(
        feedback=feedback,
        feedback_source="app",
        user="ayse",
        verdict=verdict,
        reasons=(),
        score=0,
        version=version,
        policy="p1",
        record_set=dataset,
        row=row,
    )
    return Envelope(data, f"decision-{feedback}-{version}", "imece/feedback-guard", MOMENT)


def revoked(feedback: str, version: int = 2) -> Envelope[FeedbackRevoked]:
    data = FeedbackRevoked(
        feedback=feedback, feedback_source="app", version=version, reason="campaign", by="guard"
    )
    return Envelope(data, f"revocation-{feedback}-{version}", "imece/feedback-guard", MOMENT)


def prompts(rows: Sequence[Row]) -> set[str]:
    return {row.record.prompt for row in rows if isinstance(row.record, Instruction)}
