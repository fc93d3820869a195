"""`imece publish`: validate every line of a JSON-lines file, then publish all of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from imece.cli.common import AsJson, show, where
from imece.cli.errors import handle_errors
from imece.client import Producer
from imece.errors import ConfigError, ContractError
from imece.events import EVENTS, Envelope, encode, new
from imece.events.base import MAX_BYTES

LINE_BYTES = 2 * MAX_BYTES
CHUNK = 500


@dataclass(frozen=True)
class Problem:
    """Why one line is not an event."""

    line: int
    field: str
    reason: str
    message: str


@handle_errors()
def publish(
    file: Annotated[str, typer.Argument(help="A JSON-lines file; - reads standard input.")],
    source: Annotated[str, typer.Option(help="CloudEvents source.")] = "imece/cli",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validate every line first; publish all of them, or none when one is bad."""
    events, problems = parse(_lines(file), source)
    if problems:
        show([asdict(problem) for problem in problems], as_json)
        typer.echo(f"error: {len(problems)} problems; nothing was published", err=True)
        raise typer.Exit(2)
    if not dry_run:
        asyncio.run(_send(events))
    done = "valid" if dry_run else "published"
    typer.echo(json.dumps({done: len(events)}) if as_json else f"{len(events)} events {done}")


def parse(lines: Iterable[bytes], source: str) -> tuple[list[Envelope[Any]], list[Problem]]:
    """Return the events of all good lines and the problems of all bad ones; blank lines pass."""
    events: list[Envelope[Any]] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            events.append(_event(line, source))
        except ValidationError as error:
            problems += [
                Problem(number, "/data" + "".join(f"/{at}" for at in e["loc"]), e["type"], e["msg"])
                for e in error.errors(include_url=False, include_input=False)
            ]
        except ContractError as error:
            problems.append(Problem(number, error.pointer, error.reason, str(error)))
    return events, problems


def _event(line: bytes, source: str) -> Envelope[Any]:
    body = _json(line)
    kinds = {kind.topic.name: kind for kind in EVENTS}
    kind = kinds.get(body["type"]) if isinstance(body.get("type"), str) else None
    if kind is None:
        raise ContractError(
            "unknown_type", f"type is {body.get('type')!r:.80}; see `imece topics`", "/type"
        )
    if unknown := sorted(set(body) - {"type", "id", "data"}):
        raise ContractError("unknown_field", "only type, id and data are known", f"/{unknown[0]}")
    id = body.get("id")
    if id is not None and (not isinstance(id, str) or not id):
        raise ContractError("invalid_id", "id is not a non-empty string", "/id")
    event = new(kind.model_validate(body.get("data")), source, id)
    encode(event)  # refuses what is too large
    return event


def _json(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES:
        raise ContractError("line_too_long", f"{len(line)} bytes, at most {LINE_BYTES}")
    try:
        body = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ContractError("invalid_utf8", f"not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise ContractError("invalid_json", f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ContractError("invalid_json", "a line is a JSON object with type and data")
    return body


def _lines(file: str) -> list[bytes]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    return raw.split(b"\n")


async def _send(events: Sequence[Envelope[Any]]) -> None:
    at = where()
    producer = Producer(at.kafka, at.security)
    starts = range(0, len(events), CHUNK)
    quiet = len(starts) < 4
    try:
        for start in track(starts, "publishing", console=Console(stderr=True), disable=quiet):
            await producer.send(*events[start : start + CHUNK])
    finally:
        await producer.stop()
