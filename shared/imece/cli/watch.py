"""`imece watch`: follow a topic."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Annotated

import typer

from imece.cli.common import AsJson, Where, as_dict, where
from imece.cli.errors import handle_errors
from imece.client import Client
from imece.errors import ConfigError
from imece.events import EVENTS, Event

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@handle_errors()
def watch(
    topic: str,
    since: Annotated[str, typer.Option(help="How far back: 90s, 15m, 1h, 7d.")] = "1h",
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of TOPIC as they come; Ctrl-C ends."""
    kind, seconds = event_of(topic), duration(since)
    try:
        asyncio.run(_watch(where(), kind, time.time() - seconds, count, as_json))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _watch(
    at: Where, kind: type[Event], since: float, count: int | None, as_json: bool
) -> None:
    shown = 0
    async for event in Client(at.kafka, "imece/cli", at.security).follow(kind, since=since):
        body = as_dict(event)
        data = json.dumps(body["data"], ensure_ascii=False)
        line = f"{body['time']} {event.data.key} {data}"
        typer.echo(json.dumps(body, ensure_ascii=False) if as_json else line)
        shown += 1
        if count is not None and shown >= count:
            return


def duration(text: str) -> int:
    """Return the seconds of ``90s``, ``15m``, ``1h`` or ``7d``; `ConfigError` otherwise."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ConfigError(f"--since {text!r} is no duration; write 90s, 15m, 1h or 7d")
    return int(found[1]) * UNITS[found[2]]


def event_of(topic: str) -> type[Event]:
    """Return the event of a topic; `ConfigError` naming the likely ones when it is unknown."""
    kinds = {kind.topic.name: kind for kind in EVENTS}
    if topic not in kinds:
        near = [name for name in kinds if topic in name] or sorted(kinds)
        raise ConfigError(f"{topic!r} is no topic of events; there are {', '.join(near)}")
    return kinds[topic]
