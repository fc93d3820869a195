"""What an operator sees of the queue; scale on queued + running, never on Kafka lag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from imece.events import State

JOBS = Gauge("imece_jobs", "Jobs by state", ["service", "state"])
SECONDS = Histogram(
    "imece_job_seconds",
    "Running time of ended jobs over all their attempts",
    ["service", "state"],
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600),
)
LEASE_LOST = Counter(
    "imece_job_lease_lost_total", "Attempts lost to a lapsed or taken lease", ["service"]
)


def show(service: str, counts: Mapping[str, int]) -> None:
    """Set the gauge of every state, those without jobs included."""
    for state in get_args(State):
        JOBS.labels(service, state).set(counts.get(state, 0))
