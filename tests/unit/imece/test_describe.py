"""What an operator is told about a job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imece.events import Failure
from imece.runtime.jobs import Job
from imece.runtime.jobs.describe import details, why

NOW = 1_000.0
JOB = Job(
    id="j",
    model="m",
    request={},
    priority=3,
    timeout_seconds=60,
    traceparent=None,
    state="queued",
    version=1,
    announced=1,
    token=0,
    owner=None,
    lease_until=0,
    next_attempt_at=0,
    failures=0,
    losses=0,
    spent_seconds=1.25,
    progress=None,
    result=None,
    failure=None,
    submitted_at=0,
    changed_at=0,
)
FAILED = Failure(reason="unavailable", message="the store is away")
HELD: dict[str, Any] = {"owner": "köy:7:ab", "token": 2, "lease_until": NOW + 12}


@pytest.mark.parametrize(
    ("changes", "ahead", "words"),
    [
        ({}, 0, ["free runner", "first in the queue", "priority 3"]),
        ({"request": {"devices": 4}}, 0, ["free runner with 4 devices free at once"]),
        ({"token": 1}, 4, ["4 before it", "given back by attempt 1"]),
        (
            {"state": "retry-wait", "token": 1, "failure": FAILED, "next_attempt_at": NOW + 40},
            0,
            ["attempt 1", "unavailable", "in 40 s"],
        ),
        ({"state": "retry-wait", "failure": FAILED}, 0, ["waits for a free runner"]),
        ({"state": "running", **HELD}, 0, ["köy:7:ab runs it", "attempt 2", "in 12 s"]),
        ({"state": "cancelling", **HELD}, 0, ["köy:7:ab stops it"]),
        ({"state": "running", **HELD, "lease_until": NOW - 5}, 0, ["silent", "5 s ago"]),
        ({"state": "failed", "failure": FAILED}, 0, ["failed", "the store is away"]),
        ({"state": "cancelled"}, 0, ["has ended as cancelled"]),
    ],
)
def test_a_job_says_why_it_waits(changes: dict[str, Any], ahead: int, words: list[str]) -> None:
    told = why(replace(JOB, **changes), ahead, NOW)
    assert [word for word in words if word not in told] == []


def test_details_name_the_split_of_a_batch_and_the_time_used() -> None:
    facts = details(replace(JOB, request={"split": 4}), 0, NOW)
    assert (facts["split"], facts["seconds"], facts["timeout_seconds"]) == (4, 1.2, 60)
    assert facts["submitted"] == "1970-01-01T00:00:00+00:00"
