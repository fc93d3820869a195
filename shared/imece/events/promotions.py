"""A promotion that waits for people or a canary, what they say, and to a breaker that stopped."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from imece.events.base import Count, Event, Name, ShortText, Topic
from imece.events.models import Check, ModelRef


class PromotionProposed(Event):
    """The gate would promote, but the policy asks people (`imece gate approve`) or a canary first.

    With `canary` the candidate is the challenger: that service shows it to some users.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.promotion.proposed.v1",
        "model",
        ("evaluator",),
        ("upstream",),
        1,
        365,
        public=True,
    )
    model: Name
    evaluation: Name
    checks: tuple[Check, ...]
    candidate: ModelRef
    champion: ModelRef
    """What serves until then."""
    policy: Name
    people: Annotated[int, Field(ge=0)]
    """So many different people have to approve, none of them `requested_by`; 0: nobody has to."""
    requested_by: Name | None = None
    expires_at: AwareDatetime
    canary: Name | None = None
    """Whose `imece.canary.reported.v1` is waited for as well."""


class PromotionApproved(Event):
    """One person's word on a proposed promotion; one denial is enough to reject it."""

    topic: ClassVar[Topic] = Topic(
        "imece.promotion.approved.v1",
        "evaluation",
        ("upstream",),
        ("evaluator",),
        1,
        3650,
        public=True,
    )
    evaluation: Name
    by: Name
    approved: bool = True
    note: ShortText = ""


class BreakerCleared(Event):
    """Somebody looked at decisions that broke the gate: they count against `model` no more."""

    topic: ClassVar[Topic] = Topic(
        "imece.breaker.cleared.v1",
        "model",
        ("operator",),
        ("evaluator",),
        1,
        3650,
    )
    model: Name
    evaluations: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    by: Name
    note: ShortText = ""


class CanaryReported(Event):
    """How a challenger compares with the champion among users, counted from its beginning.

    A report counts everything before it, so one that comes twice or late changes nothing.
    """

    topic: ClassVar[Topic] = Topic(
        "imece.canary.reported.v1",
        "evaluation",
        ("upstream",),
        ("evaluator",),
        1,
        3650,
        public=True,
    )
    evaluation: Name
    by: Name
    """The service that the proposal names as `canary`."""
    wins: Count
    """Pairs in which the challenger was better; pairs without a difference are in neither."""
    losses: Count
