"""What `imece jobs` prints, and what it lets be cancelled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from imece.cli import jobs
from imece.errors import RejectedError
from imece.events import Failure, JobState, Progress

AT = datetime(2026, 5, 4, tzinfo=UTC)


def state(job: str = "j", **fields: Any) -> JobState:
    about = {"kind": "adaptation", "service": "adapter", "model": "m", "state": "running"}
    return JobState(**{**about, "job": job, "version": 3, "attempt": 1, "at": AT, **fields})


def test_a_watched_job_shows_step_loss_rate_and_what_is_left() -> None:
    progress = Progress(step=3, steps=90, loss=1.23456, rate=17.04, unit="rows", eta_seconds=75.2)
    shown = jobs.line(state(progress=progress))
    assert shown.endswith(" running 3/90 loss 1.235 17.04 rows/s 0:01:15 left")


def test_a_watched_job_says_why_it_failed() -> None:
    failure = Failure(reason="diverged", message="lower the rate")
    shown = jobs.line(state(state="failed", failure=failure))
    assert shown == f"{AT.isoformat()} failed diverged: lower the rate"


def test_a_sweep_can_be_cancelled_by_the_name_of_its_trials() -> None:
    known = {job: state(job, state="succeeded") for job in ("study.0000", "study.0001")}
    jobs.check_cancel(known, "study")
    jobs.check_cancel({"j": state()}, "j")
    for job, reason in (("study.0001", "job_ended"), ("stud", "unknown_job")):
        with pytest.raises(RejectedError) as raised:
            jobs.check_cancel(known, job)
        assert raised.value.reason == reason
