"""`imece dead`: list, show, replay and drop the messages that a service parked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, Record, Where, events_of, read_all, show, where
from imece.cli.errors import handle_errors
from imece.client import Producer
from imece.errors import ConfigError, RejectedError
from imece.events import SERVICES, AuditRecorded, dead_topic, encode, new, topics

app = typer.Typer(no_args_is_help=True, help="Messages that a service could not take.")
ADDED: tuple[str, ...] = (
    "original-topic",
    "original-partition",
    "original-offset",
    "original-timestamp",
)
ADDED += ("consumer-group", "error-reason", "error-message", "attempts", "failed-at")
MARKS = frozenset(f"x-{name}" for name in ADDED)
Subjects = Annotated[
    list[str] | None, typer.Argument(help="TOPIC/PARTITION/OFFSET as ls shows; none: all.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@dataclass(frozen=True)
class Dead:
    """One parked message: where it came from, why it is here, its bytes."""

    subject: str
    topic: str
    about: dict[str, str]
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


@app.command()
@handle_errors()
def ls(
    service: str,
    everything: Annotated[bool, typer.Option("--all", help="Also what was settled.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what SERVICE parked and nobody replayed or dropped yet."""
    found = asyncio.run(_open(where(), _known(service), everything))
    show([row(dead) for dead in found], as_json, "no parked messages")


@app.command("show")
@handle_errors()
def show_one(service: str, subject: str) -> None:
    """Print one parked message as JSON: its headers, key, value and why it was parked."""
    dead = _pick(asyncio.run(_open(where(), _known(service), True)), [subject])[0]
    body = row(dead) | {
        "message": dead.about.get("x-error-message"),
        "headers": {name: (raw or b"").decode(errors="replace") for name, raw in dead.headers},
        "value": dead.value.decode(errors="backslashreplace"),
    }
    typer.echo(json.dumps(body, ensure_ascii=False, indent=2))


@app.command()
@handle_errors()
def replay(
    service: str, subjects: Subjects = None, dry_run: DryRun = False, by: str = "operator"
) -> None:
    """Publish parked messages to their topic again, byte for byte."""
    _settle(service, subjects, "replayed", dry_run, by)


@app.command()
@handle_errors()
def drop(
    service: str, subjects: Subjects = None, dry_run: DryRun = False, by: str = "operator"
) -> None:
    """Settle parked messages without replaying them; retention deletes their bytes."""
    _settle(service, subjects, "dropped", dry_run, by)


def read(records: Iterable[Record]) -> list[Dead]:
    """Return parked messages, one for each original record; the newest parking counts."""
    found: dict[str, Dead] = {}
    for record in records:
        about = {n: (raw or b"").decode(errors="replace") for n, raw in record.headers}
        topic = about.get("x-original-topic", "")
        place = (about.get("x-original-partition", ""), about.get("x-original-offset", ""))
        subject = "/".join((topic, *place))
        kept = [(name, raw) for name, raw in record.headers if name not in MARKS]
        found[subject] = Dead(subject, topic, about, record.key, record.value or b"", kept)
    return list(found.values())


def row(dead: Dead) -> dict[str, Any]:
    """Return what is listed of a parked message."""
    return {
        "subject": dead.subject,
        "reason": dead.about.get("x-error-reason"),
        "attempts": dead.about.get("x-attempts"),
        "failed_at": dead.about.get("x-failed-at"),
        "key": dead.key.decode(errors="backslashreplace") if dead.key else None,
        "bytes": len(dead.value),
    }


async def _open(at: Where, service: str, everything: bool) -> list[Dead]:
    found = read(await read_all(at, dead_topic(service).name))
    if everything:
        return found
    settled = {
        event.data.subject
        for event in await events_of(at, AuditRecorded)
        if event.data.service == service and event.data.action in ("dead.replayed", "dead.dropped")
    }
    return [dead for dead in found if dead.subject not in settled]


def _settle(
    service: str, subjects: Sequence[str] | None, action: str, dry_run: bool, by: str
) -> None:
    at = where()
    found = _pick(asyncio.run(_open(at, _known(service), False)), subjects)
    for dead in found:
        typer.echo(f"{'would be ' if dry_run else ''}{action}: {dead.subject}")
    if not dry_run and found:
        asyncio.run(_publish(at, service, found, action, by))


async def _publish(at: Where, service: str, found: Sequence[Dead], action: str, by: str) -> None:
    """Publish each message before its mark: a crash between them replays it twice, never loses."""
    names = {topic.name for topic in topics()}
    if strange := [dead.subject for dead in found if dead.topic not in names]:
        raise RejectedError("unknown_topic", f"no topic of imece: {', '.join(strange)}")
    producer = Producer(at.kafka, at.security)
    try:
        for dead in found:
            audit = AuditRecorded(
                service=service, action=f"dead.{action}", subject=dead.subject, actor=by
            )
            mark = encode(new(audit, "imece/cli"))
            if action == "replayed":
                await producer.raw([(dead.topic, dead.key, dead.value, dead.headers)])
            await producer.raw([(mark.topic, mark.key, mark.value, mark.headers)])
    finally:
        await producer.stop()


def _pick(found: Sequence[Dead], subjects: Sequence[str] | None) -> list[Dead]:
    if not subjects:
        return list(found)
    by_subject = {dead.subject: dead for dead in found}
    if missing := [subject for subject in subjects if subject not in by_subject]:
        raise RejectedError(
            "unknown_subject", f"{', '.join(missing)}: not parked, or settled; see `imece dead ls`"
        )
    return [by_subject[subject] for subject in subjects]


def _known(service: str) -> str:
    if service not in SERVICES:
        raise ConfigError(f"{service!r} is no service; there are {', '.join(SERVICES)}")
    return service
