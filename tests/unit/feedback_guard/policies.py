"""The shipped policy, and the same with praise that counts at once, for tests of other rules."""

from __future__ import annotations

from pathlib import Path

from services.feedback_guard.policy import Policy, load

FILE = Path("services/feedback_guard/policy.toml")
SHIPPED = load(FILE)


def small(policy: Policy = SHIPPED) -> Policy:
    """Return the policy with second opinions even among few users."""
    panel = policy.panel.model_copy(update={"least_users": 5})
    return policy.model_copy(update={"panel": panel})


def eager(policy: Policy = SHIPPED) -> Policy:
    """Return the policy with praise that no second opinion must confirm."""
    thresholds = policy.thresholds.model_copy(update={"praise_waits": False})
    return policy.model_copy(update={"thresholds": thresholds})
