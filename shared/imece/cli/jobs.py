"""`imece jobs`: list, watch, explain and cancel training, adaptation and evaluation jobs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import MetaData

from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.client import Client
from imece.errors import RejectedError
from imece.events import JobCancelRequested, JobState
from imece.runtime.database import Database
from imece.runtime.jobs import store
from imece.runtime.jobs.describe import details
from imece.runtime.jobs.files import LOG

app = typer.Typer(no_args_is_help=True, help="Jobs of trainer, adapter and evaluator.")
ENDED = ("succeeded", "failed", "cancelled")


@app.command()
@handle_errors()
def ls(as_json: AsJson = False) -> None:
    """List the newest state of every job."""
    show([row(job) for job in asyncio.run(newest(where())).values()], as_json, "no jobs")


@app.command()
@handle_errors()
def watch(job: str) -> None:
    """Print states, loss, rate and time left of JOB until it ends; exit code 1 without success."""
    if asyncio.run(_watch(where(), job)) != "succeeded":
        raise typer.Exit(1)


@app.command()
@handle_errors()
def cancel(
    job: str, by: Annotated[str, typer.Option(help="Who asks for it.")] = "operator"
) -> None:
    """Ask for JOB to stop; it keeps its checkpoint. A sweep's id, before the dot, stops it all."""
    asyncio.run(_cancel(where(), job, by))
    typer.echo(f"asked to cancel {job}; see `imece jobs watch {job}`")


@app.command()
@handle_errors()
def describe(job: str, as_json: AsJson = False) -> None:
    """Say why JOB waits, or who runs it; reads the database of its service."""
    facts = asyncio.run(_described(where(), job))
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        show([{"fact": name, "value": value} for name, value in facts.items()], as_json)


@app.command()
@handle_errors()
def logs(
    job: str,
    attempt: Annotated[int | None, typer.Option(help="Which one; else the newest.")] = None,
) -> None:
    """Print what an attempt at JOB wrote; each attempt has a log of its own."""
    at = where()
    state = asyncio.run(_known(at, job))
    folder = at.settings.home / "jobs" / state.service / job
    path = folder / str(attempt or state.attempt) / LOG
    if not path.exists():
        kept = sorted(int(found.parent.name) for found in folder.glob(f"*/{LOG}"))
        told = ", ".join(map(str, kept)) or "none"
        raise RejectedError(
            "no_log", f"there is no {path}; attempts with a log in this IMECE_HOME: {told}"
        )
    typer.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)


async def newest(at: Where) -> dict[str, JobState]:
    """Return the newest state of every job by its id."""
    found: dict[str, JobState] = {}
    for event in await events_of(at, JobState):
        state = event.data
        if state.job not in found or found[state.job].version <= state.version:
            found[state.job] = state
    return found


def row(state: JobState) -> dict[str, Any]:
    """Return what is shown of a job."""
    progress = state.progress
    return {
        "job": state.job,
        "kind": state.kind,
        "model": state.model,
        "state": state.state,
        "attempt": state.attempt,
        "progress": f"{progress.step}/{progress.steps}" if progress else None,
        "failure": f"{state.failure.reason}: {state.failure.message}" if state.failure else None,
        "at": state.at.isoformat(),
    }


def line(state: JobState) -> str:
    """Return what `watch` prints of a state: where the job is, how it goes, or why it failed."""
    shown, p = row(state), state.progress
    told = [shown["at"], state.state, shown["progress"], shown["failure"]]
    if p is not None:
        told += [
            None if p.loss is None else f"loss {p.loss:.4g}",
            None if p.rate is None else f"{p.rate:.4g} {p.unit}/s",
            None if not p.eta_seconds else f"{timedelta(seconds=round(p.eta_seconds))} left",
        ]
    return " ".join(part for part in told if part)


def check_cancel(known: Mapping[str, JobState], job: str) -> None:
    """Raise RejectedError where `job` is neither open nor what trials of a sweep are named for."""
    if job not in known and any(trial.startswith(f"{job}.") for trial in known):
        return
    if _named(known, job).state in ENDED:
        raise RejectedError("job_ended", f"job {job} has {known[job].state} already")


def _named(known: Mapping[str, JobState], job: str) -> JobState:
    if job not in known:
        raise RejectedError("unknown_job", f"there is no job {job!r}; see `imece jobs ls`")
    return known[job]


async def _known(at: Where, job: str) -> JobState:
    return _named(await newest(at), job)


async def _described(at: Where, job: str) -> dict[str, Any]:
    service = (await _known(at, job)).service
    metadata = MetaData()
    store.define(metadata)
    async with Database(at.settings.database_url(service), metadata, service) as database:
        found = await database.run(store.get, job)
        if found is None:
            raise RejectedError("unknown_job", f"the database of {service} has no job {job!r}")
        return details(found, await database.run(store.ahead, found), time.time())


async def _watch(at: Where, job: str) -> str:
    version = (await _known(at, job)).version
    async for event in Client(at.kafka, "imece/cli", at.security).follow(JobState):
        state = event.data
        if state.job == job and state.version >= version:
            typer.echo(line(state))
            if state.state in ENDED:
                return str(state.state)
    return "unknown"


async def _cancel(at: Where, job: str, by: str) -> None:
    check_cancel(await newest(at), job)
    async with Client(at.kafka, "imece/cli", at.security) as client:
        await client.publish(JobCancelRequested(job=job, by=by))
