"""What a job is: the row as a frozen value, the request, and how an attempt ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from imece.events import Failure, Progress, State

SPLIT = "split"
"""Key of a stored request: into how many parts each batch is to be cut. No event has it."""
OOM_KILLED = "oom_killed"
WANTS_MEMORY = frozenset({"out_of_memory", OOM_KILLED})
"""Reasons after which the next attempt reads each batch in smaller parts."""
DEVICES = "devices"
"""Key of a stored request: on how many GPUs at once, or processes where there are none."""
PEER_LOST = "peer_lost"
"""Another process of the same attempt is gone."""
TERMINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What to run; `id` is derived from the requesting event, so redelivery changes nothing."""

    id: str
    model: str
    request: dict[str, Any]
    priority: int = 0
    """Higher is claimed first."""
    timeout_seconds: int = 86_400
    """Total running time over all attempts; waiting does not count."""

    def __post_init__(self) -> None:
        """Refuse an id that could not name a folder."""
        if not _SAFE_ID.fullmatch(self.id):
            raise ValueError(f"job id {self.id!r}: use letters, digits, dot, dash and underscore")


@dataclass(frozen=True, slots=True)
class Job:
    """A job row; times are UTC epoch seconds."""

    id: str
    model: str
    request: dict[str, Any]
    priority: int
    timeout_seconds: int
    traceparent: str | None
    state: State
    version: int
    announced: int
    token: int
    """How often it was claimed: the fencing token, and the number of the attempt."""
    owner: str | None
    lease_until: float
    next_attempt_at: float
    failures: int
    losses: int
    spent_seconds: float
    progress: Progress | None
    result: dict[str, Any] | None
    failure: Failure | None
    submitted_at: float
    changed_at: float

    @property
    def devices(self) -> int:
        """How many devices, and processes, its attempts take."""
        return int(self.request.get(DEVICES, 1))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The child exited with 0 and left a valid result."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; `retry` says whether another one can help."""

    failure: Failure
    retry: bool


Outcome = Succeeded | Failed | Literal["cancelled", "released"]
"""`released`: the runner is stopping, the job goes back to the queue as it is."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon to try again."""

    max_attempts: int = 5
    """Attempts that may fail by themselves, a kill by signal included."""
    max_losses: int = 20
    """Attempts that may vanish with their machine (the lease lapsed)."""
    first_delay: float = 5.0
    longest_delay: float = 600.0
    start_seconds: float | None = None
    """A job that no attempt began within so long fails; None waits for ever."""

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after the `failures`-th failure."""
        return float(min(self.longest_delay, self.first_delay * 2.0 ** (failures - 1)))
