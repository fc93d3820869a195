"""The canary: what users' own comparisons say of a candidate before it is champion; all pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from imece.events import Check
from services.evaluator.policy import CanaryPolicy, Outcome, Verdict
from services.evaluator.statistics import sequential


class Report(BaseModel):
    """All pairs that differed so far: how often the candidate was better, how often worse."""

    model_config = ConfigDict(frozen=True)

    by: str
    wins: int
    losses: int

    @property
    def pairs(self) -> int:
        """Pairs that differed; ties say nothing about which one is better."""
        return self.wins + self.losses


def wanted(verdict: Verdict, policy: CanaryPolicy | None, *, serving: bool) -> bool:
    """Tell whether a canary is waited for; a model that serves already has all the traffic."""
    return policy is not None and verdict == "promote" and not serving


def check(report: Report | None, policy: CanaryPolicy) -> Check:
    """Return what the canary amounts to so far.

    The e-process may be looked at after every report: a candidate that is no worse is rejected
    with a probability of at most `alpha`, however often one looks.
    """
    wins, losses = (report.wins, report.losses) if report else (0, 0)
    state = sequential.state(wins, losses, policy.alpha)
    detail = f"canary of {policy.service}: better in {wins} pairs that differ, worse in {losses}"
    outcome: Outcome = "inconclusive"
    if state == "worse":
        outcome, told = "failed", f"worse is shown (e-process, alpha {policy.alpha})"
    elif state == "better":
        outcome, told = "passed", f"better is shown (e-process, alpha {policy.alpha})"
    elif wins + losses >= policy.enough:
        outcome, told = "passed", f"{policy.enough} pairs are enough, and worse is not shown"
    else:
        missing = policy.enough - wins - losses
        told = f"{missing} more pairs would do; evaluate again to propose it again"
    numbers = {
        "wins": float(wins),
        "losses": float(losses),
        "log_e": sequential.log_e(wins, losses),
        "enough": float(policy.enough),
    }
    return Check(name="canary", outcome=outcome, detail=f"{detail}; {told}", numbers=numbers)
