"""Which streams are driven through which guard, and the ablations of its policy."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
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
    "campaign": {"weights.campaign": 0},
    "trust": {"weights.cluster_cap": 0},
    "budgets": {
        "budgets.per_author": _NEVER,
        "budgets.per_claim_answer": _NEVER,
        "budgets.per_phrase": _NEVER,
        "budgets.per_delta": _NEVER,
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

    def run(
        self,
        attack: str,
        seed: int,
        *,
        rate: float = 0.05,
        accounts: int = 10,
        without: str = "",
        against: float = 0.0,
        skilled: bool = True,
        answering: float = 1.0,
    ) -> Drive:
        """Drive one stream through the guard, or through the guard without one stage."""
        world, _ = self.world(seed)
        stream = self.stream(attack, seed, rate, accounts)
        pool = people.pool(
            world.people, stream, against=against, skilled=skilled, answering=answering
        )
        known = {} if without == "references" else self.references(seed)
        policy = ablated(self.policy, without) if without in ABLATIONS else self.policy
        return drive(stream, policy, None if without == "people" else pool, known, seed)

    def references(self, seed: int) -> dict[str, str]:
        """What upstream's own labelled records say; the attacker does not know about which."""
        world, _ = self.world(seed)
        dice = random.Random(seed + 2)
        return {s.item.question: s.item.right for s in world.shown if dice.random() < KNOWN}

    def real(self, sybils: int, a_target: int, seed: int) -> tuple[list[Sent], Drive]:
        """Drive real crowd votes with sybils among them."""
        made = real_votes.stream(
            self.material.votes,
            sybils=sybils,
            a_target=a_target,
            seed=seed,
            items=self.setting.real_items,
        )
        pool = people.pool(made.people, made.stream)
        return list(made.stream), drive(made.stream, self.policy, pool, {}, seed)


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
