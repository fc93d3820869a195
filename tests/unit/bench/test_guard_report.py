"""The guard benchmark's figures and document say what was measured, misses included."""

from datetime import UTC, datetime, timedelta

import pytest

from imece.events import Correction, Envelope, FeedbackDecided, FeedbackSubmitted, Instruction
from imece.events.feedback import Reason
from tests.bench.guarding import measures, report
from tests.bench.guarding.driving import Course, Drive
from tests.bench.guarding.stream import Role, Sent
from tests.bench.results import Row

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def course(id: str, role: Role, *verdicts: tuple[int, str], staff: bool = False) -> Course:
    """One correction and its decisions: hours after it was sent, and the verdict."""
    data = FeedbackSubmitted(
        user=f"user-{id}", response=id, prompt="Who?", answer="Bo", signal=Correction(text="Ada")
    )
    sent = Sent(Envelope(data, id, "bench", NOW), role, "", role == "honest")
    decisions = []
    for version, (hours, verdict) in enumerate(verdicts, start=1):
        row = Instruction(prompt="Who?", response="Ada") if verdict == "accept" else None
        decided = FeedbackDecided(
            feedback=id,
            feedback_source="bench",
            user=data.user,
            claim=f"claim-{id}",
            verdict=verdict,  # type: ignore[arg-type]
            reasons=(Reason(code="consistent"),),
            score=0,
            version=version,
            policy="p",
            record_set="feedback",
            row=row,
        )
        decisions.append((NOW + timedelta(hours=hours), decided))
    return Course(sent, decisions, staff)


@pytest.fixture
def run() -> Drive:
    waiting, accept = (0, "quarantine"), "accept"
    return Drive(
        [
            course("1", "honest", (0, accept)),
            course("2", "honest", waiting, (2, accept)),
            course("3", "honest", waiting, (10, accept), staff=True),
            course("4", "honest", waiting, (30, accept)),
            course("5", "honest", (0, "reject")),
            course("6", "poison", (0, accept)),
            course("7", "poison", waiting),
        ],
        1.0,
        4,
    )


def test_honest_people_are_counted_by_when_and_by_whom_they_were_believed(run: Drive):
    assert measures.honest_now(run) == pytest.approx(2 / 5)
    assert measures.honest_24h(run) == pytest.approx(3 / 5)
    assert measures.honest_rejected(run) == pytest.approx(1 / 5)


def test_poison_is_counted_by_event_by_row_by_target_and_by_account(run: Drive):
    assert measures.poison_accepted(run) == 0.5
    assert measures.poison_rows(run) == 1
    assert measures.targets_flipped(run) == 0.5
    assert measures.longest_exposure(run) == 1


def test_poison_that_was_let_in_and_taken_back_is_no_row_any_more():
    back = course("1", "poison", (0, "accept"), (3, "quarantine"))
    assert measures.poison_rows(Drive([back], 1.0, 0)) == 0


def test_an_interval_needs_two_seeds_and_is_students():
    assert measures.over_seeds([0.5]).ci is None
    found = measures.over_seeds([0.4, 0.6])
    assert found.value == pytest.approx(0.5)
    assert found.ci == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706))


def test_the_document_names_misses_and_what_was_not_measured():
    rows = [
        Row("guard.honest_now", 0.5, "share", ">= 0.85", False),
        Row("guard.judge_flips", None, "", note="no endpoint"),
        Row("guard.a1", 0.01, "share", note="development"),
        Row("guard.a1.majority3", 0.9, "share", baselines={"true corrections accepted": 0.25}),
        Row("guard.a1.rftc", 0.0, "share", baselines={"true corrections accepted": 0.5}),
        Row("guard.part.speed", None, "", holds=False, note="failed: OSError: no disk"),
        Row("guard.a1.without_people", 0.2, "share"),
    ]
    text = report.document(rows, 3.0, quick=True, events=100, wide=50, pictures=["guard-roc.svg"])
    assert "- `guard.honest_now` is 0.5, bar >= 0.85." in text
    assert "| `guard.judge_flips` | – |  |  |  | no endpoint |" in text
    assert "| a1 | 0.01 | 0.9 | 0 |" in text
    assert "| *true corrections accepted* |  | 0.25 | 0.50 |" in text
    assert "- `guard.a1`: rftc 0, the guard 0.01; rftc accepts 0.50 of true corrections." in text
    assert "- `guard.part.speed` failed: OSError: no disk." in text
    assert "![guard-roc.svg](img/guard-roc.svg)" in text
