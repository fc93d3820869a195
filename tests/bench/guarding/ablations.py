"""The guard's policy without one of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.feedback_guard.policy import Policy

_NEVER = 10**9
ABLATIONS: Mapping[str, Mapping[str, float]] = {
    "status_quo": {"weights.status_quo": 0},
    "content": {
        "weights.injection": 0,
        "weights.injection_prompt": 0,
        "weights.invisible_text": 0,
        "weights.mixed_scripts": 0,
        "weights.elicited": 0,
    },
    "age": {"weights.young_account": 0},
    "waiting": {"thresholds.praise_waits": 0},
    "campaign": {"weights.campaign": 0, "weights.lockstep": 0},
    "trust": {"weights.cluster_cap": 0},
    "budgets": {
        "budgets.per_author": _NEVER,
        "budgets.per_cluster": _NEVER,
        "budgets.per_claim_answer": _NEVER,
        "budgets.per_phrase": _NEVER,
        "budgets.per_delta": _NEVER,
        "budgets.per_unconfirmed": _NEVER,
        "budgets.young_rows": _NEVER,
    },
}
WITHOUT = (*ABLATIONS, "people", "references")
"""Stages that are left out one at a time; the last two are inputs, not weights."""


def ablated(policy: Policy, stage: str) -> Policy:
    """Return the policy without one stage; KeyError names a field that it does not have."""
    whole: dict[str, Any] = policy.model_dump()
    for path, value in ABLATIONS.get(stage, {}).items():
        part, _, name = path.partition(".")
        whole[part][name]  # the ablation must not silently do nothing
        whole[part][name] = value
    return Policy.model_validate(whole)
