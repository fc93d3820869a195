"""Which streams are driven through which guard, in processes of their own."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from services.feedback_guard.policy import Policy, load
from tests.bench.guarding import attacks_more, people, real_votes
from tests.bench.guarding.ablations import ablated
from tests.bench.guarding.driving import Drive, drive
from tests.bench.guarding.kept import Kept
from tests.bench.guarding.material import Material
from tests.bench.guarding.measures import Tally, tally
from tests.bench.guarding.stream import Scene, Sent, honest, scene

POLICY = Path("services/feedback_guard/policy.toml")
KNOWN = 0.2
"""Share of questions that the operator's trusted records answer."""


@dataclass(frozen=True)
class Setting:
    """Size and shape of the runs."""

    events: int
    seeds: int
    real_items: int
    wide: int = 0
    """Events of the many runs: ablations and grid; 0 is as many as `events`."""


@dataclass(frozen=True)
class Job:
    """One run; without a name of an attack the stream is honest."""

    attack: str
    seed: int
    rate: float = 0.05
    accounts: int = 10
    without: str = ""
    against: float = 0.0
    skilled: bool = True
    answering: float = 1.0
    events: int = 0

    def run(self, bench: Bench) -> Tally:
        return tally(bench.run(self))


@dataclass(frozen=True)
class RealJob:
    """One run on real votes."""

    sybils: int
    a_target: int
    seed: int

    def run(self, bench: Bench) -> Tally:
        return tally(bench.real(self))


class Work(Protocol):
    """A piece of work for a process of its own; its `repr` names it."""

    def run(self, bench: Bench, /) -> Any: ...


class FailedError(Exception):
    """Some pieces of work ended with errors; the others are kept."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Material, policy and size; streams are made once and kept."""

    material: Material
    policy: Policy
    setting: Setting
    kept: Kept | None = None
    tell: Callable[[int, int], None] = lambda _done, _all: None
    """Called with how many pieces of work are done, and of how many."""
    pools: list[ProcessPoolExecutor] = field(default_factory=list)

    @lru_cache(maxsize=64)  # noqa: B019 - one Bench lives as long as the process
    def world(self, seed: int, events: int = 0) -> tuple[Scene, tuple[Sent, ...]]:
        """Return the scene of a seed and its honest traffic."""
        events = events or self.setting.events
        made = scene(self.material.items, self.material.accuracies, events, seed)
        return made, tuple(honest(made, events))

    def stream(self, job: Job) -> list[Sent]:
        """Return one honest stream with one attack in it (none when it has no name)."""
        world, calm = self.world(job.seed, job.events)
        if not job.attack:
            return list(calm)
        hostile = attacks_more.attack(
            job.attack, world, calm, self.material, rate=job.rate, accounts=job.accounts
        )
        return attacks_more.mixed(calm, hostile)

    def run(self, job: Job) -> Drive:
        """Drive one stream through the guard, or through the guard without one stage."""
        world, _ = self.world(job.seed, job.events)
        stream = self.stream(job)
        pool = people.pool(
            world.people,
            stream,
            against=job.against,
            skilled=job.skilled,
            answering=job.answering,
        )
        known = {} if job.without == "references" else self.references(job.seed, job.events)
        policy = ablated(self.policy, job.without)
        return drive(stream, policy, None if job.without == "people" else pool, known, job.seed)

    def all(self, jobs: Sequence[Work]) -> list[Any]:
        """Run what is not kept yet in two processes; return all results in order.

        Raises FailedError when some failed, after all others were done and kept.
        """
        found: dict[str, Any] = {}
        waiting: dict[Future[Any], str] = {}
        for name, job in {repr(job): job for job in jobs}.items():
            if self.kept is not None and name in self.kept:
                found[name] = self.kept[name]
            else:
                waiting[self.workers().submit(_work, job)] = name
        failures = self._gather(waiting, found)
        if failures:
            told = f"{failures[0]} ({len(failures)} of {len(jobs)} runs failed)"
            raise FailedError(told)
        return [found[repr(job)] for job in jobs]

    def _gather(self, waiting: Mapping[Future[Any], str], found: dict[str, Any]) -> list[str]:
        """Keep results as they come; return what went wrong."""
        failures = []
        self.tell(len(found), len(found) + len(waiting))
        for number, future in enumerate(as_completed(waiting), start=1):
            name, error = waiting[future], future.exception()
            if error is not None:
                failures.append(f"{name}: {type(error).__name__}: {error}")
            else:
                found[name] = future.result()
                if self.kept is not None:
                    self.kept.keep(name, found[name])
            self.tell(number, len(waiting))
        if any("BrokenProcessPool" in told for told in failures):
            self.close()  # the next part starts new processes
        return failures

    def workers(self) -> ProcessPoolExecutor:
        """Two processes that live as long as this one."""
        if not self.pools:
            begin = partial(_begin, self.material, self.policy, self.setting)
            self.pools.append(
                ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=begin)
            )
        return self.pools[0]

    def close(self) -> None:
        while self.pools:
            self.pools.pop().shutdown(cancel_futures=True)

    def references(self, seed: int, events: int = 0) -> dict[str, str]:
        """What upstream's own labelled records say; the attacker does not know about which."""
        world, _ = self.world(seed, events)
        dice = random.Random(seed + 2)
        return {s.item.question: s.item.right for s in world.shown if dice.random() < KNOWN}

    def votes(self, job: RealJob) -> real_votes.RealVotes:
        """Return real crowd votes with sybils among them."""
        return real_votes.stream(
            self.material.votes,
            sybils=job.sybils,
            a_target=job.a_target,
            seed=job.seed,
            items=self.setting.real_items,
        )

    def real(self, job: RealJob) -> Drive:
        """Drive real crowd votes with sybils among them."""
        made = self.votes(job)
        pool = people.pool(made.people, made.stream)
        return drive(made.stream, self.policy, pool, {}, job.seed)


_here: list[Bench] = []


def _begin(material: Material, policy: Policy, setting: Setting) -> None:
    """Prepare a worker process."""
    warnings.filterwarnings("ignore")  # of the baselines' libraries
    _here[:] = [Bench(material, policy, setting)]


def _work(job: Work) -> Any:
    (bench,) = _here
    return job.run(bench)


def policy() -> Policy:
    return load(POLICY)
