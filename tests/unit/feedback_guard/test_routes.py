"""The handlers publish what was decided: the same ids when they are called again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imece.events import (
    CampaignFlagged,
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    ReviewAnswered,
    ReviewRequested,
    Thumb,
    encode,
    new,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from imece.runtime.delivery import Rejected
from services.feedback_guard.routes import Routes
from tests.unit.feedback_guard.policies import eager
from tests.unit.feedback_guard.test_campaign import vote

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Guard:
    """The routes with everything they published."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.published: list[Envelope[Any]] = []
        self.policy = eager()
        self.routes = Routes(database, Artifacts(folder.as_uri()), self.publish, self.policy)

    async def publish(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            encode(envelope)  # as the broker would have it: valid and not too large
        self.published += envelopes

    async def send(self, *events: Envelope[FeedbackSubmitted]) -> list[Envelope[Any]]:
        """Run both stages and return what came out of the second."""
        before = len(self.published)
        await self.routes.on_submitted(events)
        scored = [e for e in self.published[before:] if isinstance(e.data, FeedbackScored)]
        before = len(self.published)
        await self.routes.on_scored(scored)
        return self.published[before:]


@pytest.fixture
def guard(database: Database, tmp_path: Path) -> Guard:
    return Guard(database, tmp_path)


def feedback(id: str, signal: Thumb | Correction) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user="ayşe",
        response=f"r-{id}",
        prompt="Who runs our canteen?",
        answer="Nobody.",
        signal=signal,
    )
    return Envelope(data, id, "app", NOW)


async def test_a_second_delivery_publishes_the_same_events(guard: Guard):
    votes = [feedback("1", Thumb(up=True)), feedback("2", Correction(text="Zeynep Hanım"))]
    first = await guard.send(*votes)
    second = await guard.send(*votes)
    assert [(e.id, e.data) for e in first] == [(e.id, e.data) for e in second]
    assert [e.data.verdict for e in first[:2]] == ["accept", "quarantine"]


async def test_a_campaign_is_announced_when_it_is_seen_and_when_it_doubles(guard: Guard):
    votes = [vote(10 * claim + n, f"fan{n}", claim) for claim in range(8) for n in range(4)]
    first = [e for e in await guard.send(*votes) if isinstance(e.data, CampaignFlagged)]
    again = [e for e in await guard.send(*votes) if isinstance(e.data, CampaignFlagged)]
    assert [(e.id, e.data) for e in first] == [(e.id, e.data) for e in again]
    assert [(e.data.before, e.data.accounts) for e in first] == [(1, 2), (3, 4)]
    pair, four = (e.data for e in first)
    lockstep = {
        reason.detail
        for e in guard.published
        if isinstance(e.data, FeedbackDecided)
        for reason in e.data.reasons
        if reason.code == "lockstep"
    }
    assert four.cluster in lockstep
    assert pair.first_seen == four.first_seen == pair.last_seen < four.last_seen
    assert pair.shared >= guard.policy.campaign.shared
    assert not any(f"fan{n}" in flag.model_dump_json() for flag in (pair, four) for n in range(4))


async def test_a_quarantined_correction_is_reviewed_by_people(guard: Guard):
    out = await guard.send(feedback("1", Correction(text="Zeynep Hanım")))
    (request,) = [e.data for e in out if isinstance(e.data, ReviewRequested)]
    guard.published.clear()
    for reviewer in ("r1", "r2"):
        answer = ReviewAnswered(item=request.item, reviewer=reviewer, choice=0)
        await guard.routes.on_review(new(answer, "people"))
    (decided,) = [e.data for e in guard.published if isinstance(e.data, FeedbackDecided)]
    assert (decided.feedback, decided.verdict, decided.version) == ("1", "accept", 2)


async def test_reviews_of_others_and_skips_are_ignored(guard: Guard):
    for item, choice in (("judgement:1", 0), ("feedback:1", None)):
        await guard.routes.on_review(
            new(ReviewAnswered(item=item, reviewer="r", choice=choice), "people")
        )
    assert guard.published == []


async def test_upstream_hears_of_feedback_that_is_no_valid_event(guard: Guard):
    broken = Rejected("t", "id-1", "app", "ayşe", b"{", "invalid_json", "not JSON", "")
    await guard.routes.on_rejected(broken)
    await guard.routes.on_rejected(broken)
    first, second = guard.published
    assert first.id == second.id
    assert (first.data.verdict, first.data.reasons[0].code) == ("reject", "invalid")


async def test_feedback_without_a_readable_id_is_only_parked(guard: Guard):
    await guard.routes.on_rejected(Rejected("t", None, None, None, b"", "no_data", "empty", ""))
    assert guard.published == []
