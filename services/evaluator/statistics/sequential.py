"""A comparison that may be looked at after every pair: an e-process, valid at any stop."""

from __future__ import annotations

import math
from typing import Literal

from services.evaluator.statistics.intervals import log_beta

State = Literal["better", "worse", "undecided"]
_PRIOR = 2.0


def log_e(wins: int, losses: int) -> float:
    """Return the log e-value of "wins and losses are equally likely" for discordant pairs.

    It is the likelihood under a Beta(2, 2) mixture over that under 1/2. Its expectation is 1 at
    every time if there is no difference, so it exceeds 1 / alpha ever with probability alpha. The
    mixture is fixed beforehand; (2, 2) finds shares of 0.6 to 0.75 soonest.
    """
    mixture = log_beta(wins + _PRIOR, losses + _PRIOR) - log_beta(_PRIOR, _PRIOR)
    return mixture + (wins + losses) * math.log(2)


def state(wins: int, losses: int, alpha: float = 0.05) -> State:
    """Return whether the candidate has been shown better or worse, or neither yet."""
    if log_e(wins, losses) < -math.log(alpha):
        return "undecided"
    return "better" if wins > losses else "worse"
