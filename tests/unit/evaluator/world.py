"""The evaluator without Kafka and without a model: its handlers, its gate, its state on SQLite."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update

from imece.events import (
    DatasetRef,
    Envelope,
    EvaluationPlan,
    EvaluationRequested,
    Event,
    JobState,
    ModelRef,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.jobs import store as job_store
from imece.runtime.jobs.runner import Jobs
from services.evaluator import core, metrics, policy, probes, store
from services.evaluator.core import Item
from services.evaluator.decider import Decider
from services.evaluator.probes import Probe
from services.evaluator.routes import Routes, failures, results

MOMENT = datetime(2026, 5, 4, 12, tzinfo=UTC)
SUITE = DatasetRef(dataset="s", version=1, digest="sha256:" + "0" * 64, uri="file:///s")
POLICY = policy.read_policy(Path(policy.__file__).with_name("policy.toml"))


def adapter(name: str, number: int) -> ModelRef:
    digest = "sha256:" + f"{number:x}" * 64
    return ModelRef(name=name, base="/base", adapter=f"file:///{name}", adapter_digest=digest)


class World:
    """One evaluator; `published` is what it told the broker."""

    def __init__(self, folder: Path) -> None:
        self.policy = POLICY
        self.published: list[Envelope[Any]] = []
        self.database = Database(f"sqlite:///{folder / 'e.db'}", store.METADATA, "evaluator")
        self.artifacts = Artifacts(str(folder / "artifacts"))
        self.jobs = Jobs(
            self.database,
            self.publish,
            service="evaluator",
            kind="evaluation",
            module="services.evaluator.job",
            folder=folder / "jobs",
            results=results,
            failures=failures,
        )
        self.routes = Routes(self.database, self.jobs, self.publish, 60)
        self.decider = self.fresh_decider()

    def fresh_decider(self) -> Decider:
        return Decider(
            self.database,
            self.artifacts,
            self.publish,
            self.policy,
            judge_seconds=100,
            tick_seconds=1,
        )

    async def __aenter__(self) -> World:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()

    async def publish(self, *events: Envelope[Any]) -> None:
        self.published.extend(events)

    def sent(self, kind: type[Event]) -> list[Any]:
        """Return the data of what a reader sees, who drops repeated ids."""
        seen = {(e.source, e.id): e.data for e in self.published if isinstance(e.data, kind)}
        return list(seen.values())

    def state(self) -> str:
        return str(self.sent(JobState)[-1].state)

    async def end_job(
        self,
        id: str,
        candidate: Sequence[Item],
        baseline: Sequence[Item],
        probed: Sequence[Probe] = (),
        unprobed: str = "",
    ) -> None:
        """Write what a child would have left, and announce it."""
        result: dict[str, Any] = {
            "metrics": [m.model_dump(mode="json") for m in metrics.measure(candidate)],
            "unprobed": unprobed,
        }
        for part, items in {"items": candidate, "baseline": baseline}.items():
            stored = self.artifacts.put(f"{id}/{part}.jsonl", core.dump(items))
            result |= {part: stored.uri, f"{part}_digest": stored.digest}
        if probed:
            stored = self.artifacts.put(f"{id}/probes.jsonl", probes.dump(probed))
            result |= {"probes": stored.uri, "probes_digest": stored.digest}
        await self._end(id, state="succeeded", result=json.dumps(result))

    async def fail_job(self, id: str) -> None:
        failure = '{"reason":"unknown_base","message":"no such model"}'
        await self._end(id, state="failed", failure=failure)

    async def _end(self, id: str, **values: Any) -> None:
        def write(connection: Any) -> None:
            job = store.METADATA.tables["job"]
            late = {"version": 9, "changed_at": time.time(), "lease_until": 0.0, **values}
            connection.execute(update(job).where(job.c.id == id).values(**late))

        await self.database.run(write)
        assert (await self.database.run(job_store.get, id)) is not None
        await self.jobs.announce()


def requested(
    model: str = "new",
    *,
    id: str = "r1",
    baseline: ModelRef | None = None,
    number: int = 1,
    judge_items: int = 0,
    decide: bool = True,
    requested_by: str | None = None,
) -> Envelope[EvaluationRequested]:
    plan = EvaluationPlan(
        suites=(SUITE,),
        baseline=baseline,
        decide=decide,
        judge_items=judge_items,
        requested_by=requested_by,
    )
    data = EvaluationRequested(model=model, ref=adapter(model, number), plan=plan)
    return Envelope(data, id, "app", MOMENT)
