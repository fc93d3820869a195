"""Which streams are driven through which guard, and the ablations of its policy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from services.feedback_guard.policy import Policy, load
from tests.bench.guarding import attacks_more, people, real_votes
from tests.bench.guarding.driving import Drive, drive
from tests.bench.guarding.material import Material
from tests.bench.guarding.stream import Scene, Sent, honest, scene

POLICY = Path("services/feedback_guard/policy.toml")
KNOWN = 0.2
"""Share of questions that the operator's trusted records answer."""
_NEVER = 10**9
ABLATIONS: Mapping[str, Mapping[str, float]] = {
    "status_quo": {"weights.status_quo": 0},
    "content": {
        "weights.injection": 0,
        "weights.invisible_text": 0,
        "weights.mixed_scripts": 0,
        "weights.elicited": 0,
    },
    "age": {"weights.young_account": 0},
    "waiting": {"thresholds.praise_waits": 0},
    "campaign": {"weights.campaign": 0},
    "trust": {"weights.cluster_cap": 0},
    "budgets": {
        "budgets.per_author": _NEVER,
        "budgets.per_claim_answer": _NEVER,
        "budgets.per_phrase": _NEVER,
        "budgets.per_delta": _NEVER,
        "budgets.per_unconfirmed": _NEVER,
    },
}
WITHOUT = (*ABLATIONS, "people", "references")
"""Stages that are left out one at a time; the last two are inputs, not weights."""


@dataclass(frozen=True)
class Setting:
    """Size and shape of the runs."""

    events: int
    seeds: int
    real_items: int


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


@dataclass(frozen=True)
class RealJob:
    """One run on real votes."""

    sybils: int
    a_target: int
    seed: int


@dataclass(frozen=True, eq=False)
class Bench:
    """Material, policy and size; streams are made once and kept."""

    material: Material
    policy: Policy
    setting: Setting

    @lru_cache(maxsize=64)  # noqa: B019 - one Bench lives as long as the process
    def world(self, seed: int) -> tuple[Scene, tuple[Sent, ...]]:
        """Return the scene of a seed and its honest traffic."""
        events = self.setting.events
        made = scene(self.material.items, self.material.accuracies, events, seed)
        return made, tuple(honest(made, events))

    def stream(self, attack: str, seed: int, rate: float = 0.05, accounts: int = 10) -> list[Sent]:
        """Return one honest stream with one attack in it (none when it has no name)."""
        world, calm = self.world(seed)
        if not attack:
            return list(calm)
        hostile = attacks_more.attack(
            attack, world, calm, self.material, rate=rate, accounts=accounts
        )
        return attacks_more.mixed(calm, hostile)

    def run(self, job: Job) -> Drive:
        """Drive one stream through the guard, or through the guard without one stage."""
        world, _ = self.world(job.seed)
        stream = self.stream(job.attack, job.seed, job.rate, job.accounts)
        pool = people.pool(
            world.people,
            stream,
            against=job.against,
            skilled=job.skilled,
            answering=job.answering,
        )
        known = {} if job.without == "references" else self.references(job.seed)
        policy = ablated(self.policy, job.without) if job.without in ABLATIONS else self.policy
        return drive(stream, policy, None if job.without == "people" else pool, known, job.seed)

    def all(self, jobs: Sequence[Job | RealJob]) -> list[Drive]:
        """Run jobs in two processes, in order."""
        return list(self.workers.map(_work, jobs))

    @cached_property
    def workers(self) -> ProcessPoolExecutor:
        """Two processes that live as long as this one."""
        begin = partial(_begin, self.material, self.policy, self.setting)
        return ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=begin)

    def references(self, seed: int) -> dict[str, str]:
        """What upstream's own labelled records say; the attacker does not know about which."""
        world, _ = self.world(seed)
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
    _here.append(Bench(material, policy, setting))


def _work(job: Job | RealJob) -> Drive:
    (bench,) = _here
    return bench.real(job) if isinstance(job, RealJob) else bench.run(job)


def policy() -> Policy:
    return load(POLICY)


def ablated(policy: Policy, stage: str) -> Policy:
    """Return the policy without one stage; KeyError names a field that it does not have."""
    whole: dict[str, Any] = policy.model_dump()
    for path, value in ABLATIONS[stage].items():
        part, _, name = path.partition(".")
        whole[part][name]  # the ablation must not silently do nothing
        whole[part][name] = value
    return Policy.model_validate(whole)
