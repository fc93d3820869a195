"""What was done by whom: operator actions and promotions."""

from __future__ import annotations

from typing import ClassVar

from imece.events.base import Event, Name, ShortText, Topic


class AuditRecorded(Event):
    """One action worth keeping."""

    topic: ClassVar[Topic] = Topic(
        "imece.audit.recorded.v1", "service", ("*",), ("audit",), 1, 3650
    )
    service: Name
    action: Name
    subject: ShortText
    actor: Name
    detail: ShortText = ""
