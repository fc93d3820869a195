"""All of stage two for a batch, in one transaction: decide, ask, end waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from imece.events import (
    CampaignFlagged,
    FeedbackDecided,
    FeedbackScored,
    JudgementRequested,
    OpinionRequested,
)
from services.feedback_guard import asking, later, reference, rows, store
from services.feedback_guard.policy import Policy


@dataclass(frozen=True)
class Done:
    """What came of a batch."""

    decided: Sequence[FeedbackDecided]
    """One for each event, in order."""
    ended: Sequence[FeedbackDecided]
    """The newest versions of other feedback that the batch changed."""
    asked: Sequence[OpinionRequested]
    compared: Sequence[JudgementRequested]
    """What a blind reference model is asked."""
    flags: Mapping[str, CampaignFlagged]
    """Campaigns that these events showed, in order, by the event's key."""
    next_end: float | None
    """When the next quarantine ends (seconds since 1970), None when nothing waits."""


def two(
    connection: Connection,
    scored: Sequence[FeedbackScored],
    now: datetime,
    policy: Policy,
    keys: Mapping[str, bytes],
) -> Done:
    """Decide a batch at `now` and do what follows from it; doing it again changes nothing."""
    decided = store.decide_all(connection, scored, policy)
    ids = [store.key_of(item) for item in scored]
    waiting = {
        id: item
        for id, item, decision in zip(ids, scored, decided, strict=True)
        if decision.verdict == "quarantine" and item.stance > 0
    }
    newest = store.key_of(max(scored, key=lambda item: item.submitted))
    asked = asking.invite(connection, waiting, now, policy, keys, newest=newest)
    compared = reference.ask(connection, waiting.values(), policy)
    shown = rows.flags(connection, ids)
    flags = {id: shown[id] for id in ids if id in shown}
    ended, ends = later.follow(connection, scored, now, policy, newest)
    return Done(decided, ended, asked, compared, flags, ends)
