"""The same streams under what is published or simple: pieces of work beside the guard's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.feedback_guard import claims
from tests.bench.guarding.material import Material
from tests.bench.guarding.rivals import baselines
from tests.bench.guarding.runs import Bench, Job, RealJob
from tests.bench.guarding.stream import Sent

Passed = Mapping[str, Sequence[float]]
"""By baseline: share of poison accepted, and of true corrections."""


@dataclass(frozen=True)
class RivalJob:
    """All baselines that need no model, on one stream."""

    attack: str
    seed: int

    def run(self, bench: Bench) -> Passed:
        stream = bench.stream(Job(self.attack, self.seed))
        every = {**baselines.crowd(), "content": _content(bench.material)}
        return {name: shares(stream, method(stream)) for name, method in every.items()}


@dataclass(frozen=True)
class RealRivalJob:
    """The baselines on real votes: share of attacked questions on which poison got in."""

    of: RealJob

    def run(self, bench: Bench) -> Mapping[str, float]:
        stream = bench.votes(self.of).stream
        return {name: _flipped(stream, f(stream)) for name, f in baselines.crowd().items()}


def shares(stream: Sequence[Sent], accepted: Collection[str]) -> list[float]:
    """Return the share of poison rows and of true corrections that were accepted."""
    aimed, mine = poison(stream), true_corrections(stream)
    return [sum(s.event.id in accepted for s in of) / max(1, len(of)) for of in (aimed, mine)]


def poison(stream: Sequence[Sent]) -> list[Sent]:
    return [s for s in stream if s.role == "poison" and s.teaches]


def true_corrections(stream: Sequence[Sent]) -> list[Sent]:
    return [s for s in stream if s.role == "honest" and s.correction and s.right]


def _flipped(stream: Sequence[Sent], accepted: Collection[str]) -> float:
    aimed = {
        s.event.id: claims.claim_id("default", s.event.data.prompt)
        for s in stream
        if s.role == "poison"
    }
    return len({c for id, c in aimed.items() if id in accepted}) / len(set(aimed.values()))


@lru_cache(maxsize=1)
def _content(material: Material):  # type: ignore[no-untyped-def]  # of an optional module
    return baselines.content_filter(material)
