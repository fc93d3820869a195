"""Rows about speed, and about what is left in a model that was trained on the guard's rows."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.guarding import speed
from tests.bench.guarding.runs import Bench, FailedError
from tests.bench.guarding.stream import Sent
from tests.bench.results import Row

CACHE = Path(os.environ.get("IMECE_CACHE", Path.home() / ".cache" / "imece"))


@dataclass(frozen=True)
class GrowthJob:
    """What an event costs among `many` users, as a multiple of that among `few`."""

    few: int
    many: int
    events: int

    def run(self, bench: Bench) -> float:
        return speed.growth(_calm(bench, self.events), bench.policy, self.few, self.many)


@dataclass(frozen=True)
class RevokeJob:
    """How long taking back one user's rows takes among so many events."""

    among: int
    events: int

    def run(self, bench: Bench) -> Mapping[str, float]:
        return asdict(speed.revocation(_calm(bench, self.events), bench.policy, self.among))


def in_process(bench: Bench, *, quick: bool) -> list[Row]:
    rate = speed.in_process(_calm(bench, _events(quick)), bench.policy)
    return [Row("guard.events_per_s_core", rate, "events/s", ">= 4000", rate >= 4000)]


def through_kafka(bench: Bench, *, quick: bool) -> list[Row]:
    """200 events a second, then a flood, through a broker of our own."""
    kafka = speed.through_kafka(_calm(bench, _events(quick)), 10 if quick else 30, CACHE)
    rate, p95 = kafka.events_per_second, kafka.p95_seconds
    return [
        Row("guard.kafka_events_per_s", rate, "events/s", ">= 1500", rate >= 1500),
        Row("guard.decision_p95_s", p95, "s", "<= 1 at 200 events/s", p95 <= 1),
    ]


def grown(bench: Bench, *, quick: bool) -> list[Row]:
    """The cost of an event, in processor time; revocation is filled on the other core."""
    growth, revoke = _large(quick)
    with suppress(FailedError):  # whichever failed is tried again by its own part
        bench.all([growth, revoke])
    (found,) = bench.all([growth])
    told = f"cost at {growth.many:,} users / at {growth.few:,}"
    return [Row("guard.cost_growth", found, told, "<= 1.2", found <= 1.2)]


def revoked(bench: Bench, *, quick: bool) -> list[Row]:
    _, revoke = _large(quick)
    (found,) = bench.all([revoke])
    seconds, complete = found["seconds"], bool(found["complete"])
    return [
        Row(
            "guard.revoke_s",
            seconds,
            f"s for {found['rows']:,} rows among {found['events']:,} events",
            "<= 60 at 1,000,000",
            None if quick else seconds <= 60 and complete,
            note="complete" if complete else "rows of the user still stand",
        )
    ]


def _large(quick: bool) -> tuple[GrowthJob, RevokeJob]:
    events = _events(quick)
    if quick:
        return GrowthJob(4_000, 40_000, events), RevokeJob(20_000, events)
    return GrowthJob(10_000, 1_000_000, events), RevokeJob(1_000_000, events)


def _events(quick: bool) -> int:
    return 6_000 if quick else 30_000


def _calm(bench: Bench, events: int) -> tuple[Sent, ...]:
    return bench.world(0, events)[1]


def trained(bench: Bench) -> list[Row]:
    """What offered poison does to a trained model; `guarding.downstream` runs this alone."""
    from tests.bench.guarding import downstream  # torch takes seconds to import

    bench.close()  # their memory and cores are needed
    kept, rows = bench.kept, list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arm in downstream.ARMS:
            said, key = folder / f"{arm}.json", f"answers of the {arm} model"
            if kept is not None and key in kept:
                said.write_text(json.dumps(kept[key]), encoding="utf-8")
            rows = downstream.measure(
                bench.material,
                downstream.FULL,
                folder,
                lambda _what, done, every: bench.tell(done, every),
                [arm],
            )
            if kept is not None and key not in kept:
                kept.keep(key, json.loads(said.read_text(encoding="utf-8")))
    return rows


def untrained() -> list[Row]:
    """A quick run trains nothing, and says so."""
    why = "three models are trained for it; only the full run does"
    names = ("downstream_asr_delta", "downstream_clean_delta")
    return [Row(f"guard.{name}", None, "", note=why) for name in names]
