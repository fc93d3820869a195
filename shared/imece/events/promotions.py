"""A promotion that waits for people, what they say to it, and to a breaker that stopped some."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from imece.events.base import Event, Name, ShortText, Topic
from imece.events.models import Check, ModelRef


class PromotionProposed(Event):
    """The gate would promote, and the policy asks people first; `imece gate approve` answers."""

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
    people: Annotated[int, Field(ge=1)]
    """So many different people have to approve, none of them `requested_by`."""
    requested_by: Name | None = None
    expires_at: AwareDatetime


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
