"""`imece suites`: evaluation suites are data; check a TOML or JSON-lines file and publish it."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from imece.cli.common import AsJson, where
from imece.cli.errors import handle_errors
from imece.client import Producer
from imece.errors import ConfigError
from imece.events import Envelope, EvaluationCase, RecordSubmitted, derived_id, encode, new

app = typer.Typer(no_args_is_help=True, help="Publish evaluation suites.")
SOURCE = "imece/suites"
_HEAD = {"suite", "license", "origin", "defaults", "case"}
_SHOWN = 5


@dataclass(frozen=True)
class Suite:
    """A named list of cases; its versions are the data set versions that ingest makes."""

    name: str
    license: str
    origin: str
    cases: tuple[EvaluationCase, ...]


@app.callback()
def _group() -> None:
    """Keep `publish` a subcommand."""


@app.command()
@handle_errors()
def publish(
    file: Annotated[Path, typer.Argument(help="TOML with [[case]] tables, or JSON lines.")],
    name: Annotated[str, typer.Option(help="The suite's name, if the file has none.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every case first; publish all of them as one data set version, or none."""
    suite = read(file, name)
    events = records(suite)
    if not dry_run:
        asyncio.run(_send(events))
    scoring = Counter(case.scoring for case in suite.cases)
    if as_json:
        typer.echo(json.dumps({"suite": suite.name, "cases": len(suite.cases), **scoring}))
    else:
        told = ", ".join(f"{count} by {how}" for how, count in sorted(scoring.items()))
        done = "valid" if dry_run else "published"
        typer.echo(f"suite {suite.name}: {len(suite.cases)} cases {done} ({told})")


def read(file: Path, name: str = "") -> Suite:
    """Read a suite; `ConfigError` says which cases are wrong, and how."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read suite {file}: {error}") from error
    head, bodies = _toml(file, text) if file.suffix == ".toml" else ({}, _lines(file, text))
    name = name or str(head.get("suite", ""))
    if not name:
        raise ConfigError(f'suite {file} has no name; write suite = "…" or give --name')
    cases, problems = [], []
    for place, body in bodies:
        try:
            cases.append(_case(body, head.get("defaults", {})))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "case"
            problems.append(f"{place}: {field}: {first['msg']}")
    repeated = [case.prompt for case, count in Counter(cases).items() if count > 1]
    problems += [f"the same case twice: {prompt[:60]!r}" for prompt in repeated]
    if problems or not cases:
        shown = "; ".join(problems[:_SHOWN]) or "it has no case"
        raise ConfigError(f"suite {file}: {len(problems)} problems: {shown}")
    return Suite(name, str(head.get("license", "")), str(head.get("origin", "")), tuple(cases))


def records(suite: Suite) -> list[Envelope[RecordSubmitted]]:
    """Return the events of a suite; equal suites give equal ids, so ingest takes them once."""
    found = []
    ids = []
    for case in suite.cases:
        event = RecordSubmitted(
            record_set=suite.name, record=case, license=suite.license, origin=suite.origin
        )
        ids.append(derived_id("suite", suite.name, event.model_dump_json()))
        found.append(new(event, SOURCE, ids[-1]))
    end = RecordSubmitted(record_set=suite.name, ends_set=True)
    found.append(new(end, SOURCE, derived_id("suite-end", suite.name, *ids)))
    for each in found:
        encode(each)  # refuses what is too large
    return found


def _toml(file: Path, text: str) -> tuple[dict[str, Any], Iterator[tuple[str, Any]]]:
    try:
        head = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"suite {file}: {error}") from error
    if unknown := sorted(set(head) - _HEAD):
        raise ConfigError(f"suite {file}: unknown key {unknown[0]}; known are {sorted(_HEAD)}")
    cases = head.get("case", [])
    return head, ((f"case {number}", body) for number, body in enumerate(cases, 1))


def _lines(file: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except ValueError as error:
            raise ConfigError(f"suite {file}, line {number}: not JSON: {error}") from error


def _case(body: Any, defaults: dict[str, Any]) -> EvaluationCase:
    if isinstance(body, dict):
        body = defaults | body
        if isinstance(body.get("expected"), str):
            body["expected"] = [body["expected"]]
    return EvaluationCase.model_validate(body)


async def _send(events: list[Envelope[RecordSubmitted]]) -> None:
    at = where()
    producer = Producer(at.kafka, at.security)
    try:
        await producer.send(*events)
    finally:
        await producer.stop()
