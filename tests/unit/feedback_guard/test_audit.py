"""People check a share of what was accepted, and what they find bounds the poison."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from imece.events import (
    Correction,
    Envelope,
    FeedbackScored,
    FeedbackSubmitted,
    ReviewAnswered,
    ReviewRequested,
    Thumb,
    encode,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.database import Database
from services.feedback_guard import audit
from services.feedback_guard.policy import Audit, Policy, load
from services.feedback_guard.routes import Routes

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SHIPPED = load(Path("services/feedback_guard/policy.toml"))


def sums(number: int) -> list[Envelope[FeedbackSubmitted]]:
    """Return praise of right sums, which is accepted with a row each."""
    return [
        Envelope(
            FeedbackSubmitted(
                user=f"u{n}",
                response=f"r-{n}",
                prompt=f"What is {n} + 1?",
                answer=f"The answer is {n + 1}.",
                signal=Thumb(up=True),
            ),
            f"e-{n}",
            "app",
            NOW,
        )
        for n in range(number)
    ]


class Guard:
    """The routes under a policy that audits a share, with everything they published."""

    def __init__(self, database: Database, folder: Path, share: float) -> None:
        self.policy: Policy = SHIPPED.model_copy(update={"audit": Audit(share=share)})
        self.database = database
        self.out: list[Envelope[Any]] = []
        artifacts = Artifacts(folder.as_uri())
        self.routes = Routes(database, artifacts, self.publish, self.policy)

    async def publish(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            encode(envelope)
        self.out += envelopes

    async def asked(self, events: list[Envelope[FeedbackSubmitted]]) -> list[ReviewRequested]:
        await self.routes.on_submitted(events)
        await self.routes.on_scored([e for e in self.out if isinstance(e.data, FeedbackScored)])
        return [e.data for e in self.out if isinstance(e.data, ReviewRequested)]

    async def say(self, item: str, choice: int, at: datetime = NOW, by: str = "r") -> None:
        answer = ReviewAnswered(item=item, reviewer=by, choice=choice)
        await self.routes.on_review(Envelope(answer, f"a-{item}-{by}", "people", at))

    async def seen(self, at: datetime = NOW) -> audit.Estimate:
        return await self.database.run(audit.estimate, at)


async def test_a_share_of_what_is_accepted_is_shown_to_people(database: Database, tmp_path: Path):
    asked = await Guard(database, tmp_path, 0.2).asked(sums(300))
    assert 30 <= len(asked) <= 90
    assert asked[0].options[0].startswith("right: The answer is")


async def test_without_a_share_nobody_is_asked(database: Database, tmp_path: Path):
    assert await Guard(database, tmp_path, 0).asked(sums(50)) == []


async def test_what_people_find_bounds_the_poison_of_thirty_days(
    database: Database, tmp_path: Path
):
    guard = Guard(database, tmp_path, 1)
    items = [request.item for request in await guard.asked(sums(40))]
    for number, item in enumerate(items):
        await guard.say(item, int(number < 2))
        await guard.say(item, 1, by="late")
    found = await guard.seen()
    assert (found.checked, found.wrong, found.rate) == (40, 2, 0.05)
    assert 0.05 < found.upper < 0.16
    assert await guard.seen(NOW + 31 * DAY) == audit.Estimate(0, 0)
    assert audit.Estimate(0, 0).upper == 1


async def test_reviews_of_what_waits_are_no_audit(database: Database, tmp_path: Path):
    guard, (event,) = Guard(database, tmp_path, 1), sums(1)
    data = event.data.model_copy(
        update={"prompt": "Who runs our canteen?", "signal": Correction(text="Zeynep Hanım")}
    )
    (request,) = await guard.asked([Envelope(data, "c", "app", NOW)])
    for reviewer in ("r1", "r2", "r3"):
        await guard.say(request.item, 0, by=reviewer)
    assert (await guard.seen()).checked == 0
