"""Kafka handlers of the review queue, and the announcing of final answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import structlog
from prometheus_client import Counter

from imece.errors import UnavailableError
from imece.events import AuditRecorded, Envelope, ReviewAnswered, ReviewRequested, derived_id, new
from imece.runtime.app import Publish
from imece.runtime.database import Database
from imece.runtime.delivery import Subscription, batch
from services.review import announce, ledger, store
from services.review.policy import Policy

log = structlog.get_logger()
ANSWERED = Counter("imece_reviews_answered", f"Events {ReviewAnswered.topic.name}", ["kind"])


class Reviews:
    """Keeps what is asked durably, and tells the answers once they are final."""

    def __init__(
        self, database: Database, publish: Publish, policy: Policy, poll_seconds: float
    ) -> None:
        self._database, self._publish = database, publish
        self._policy, self._poll = policy, poll_seconds

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the queue consumes."""
        return (batch(ReviewRequested, self.on_requests),)

    async def on_requests(self, events: Sequence[Envelope[ReviewRequested]]) -> None:
        await self._database.run(store.add, events, self._policy, time.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Announce until `stop`."""
        while not stop.is_set():
            try:
                await self.announce()
            except UnavailableError as error:
                log.warning("review.postponed", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._poll)

    async def announce(self) -> None:
        """Publish the answers that became final and are not acknowledged yet."""
        while final := await self._database.run(announce.finals, self._policy, time.time()):
            head = await self._database.run(ledger.head)
            await self._publish(*(each.event for each in final), _anchor(*head))
            await self._database.run(announce.mark_announced, final)
            for each in final:
                ANSWERED.labels("answer" if each.slot else "skip").inc()


def _anchor(number: int, head: str) -> Envelope[AuditRecorded]:
    """Tell the log's last hash outside, so that even a log written anew as a whole shows."""
    data = AuditRecorded(
        service="review",
        action="log-head",
        subject=head,
        actor="review",
        detail=f"{number} entries",
    )
    return new(data, announce.SOURCE, derived_id(announce.SOURCE, "head", number, head))
