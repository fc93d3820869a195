"""`imece jobs`: list, watch and cancel training, adaptation and evaluation jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.client import Client
from imece.errors import RejectedError
from imece.events import JobCancelRequested, JobState

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
    """Print the states of JOB until it ends; exit code 1 unless it succeeded."""
    if asyncio.run(_watch(where(), job)) != "succeeded":
        raise typer.Exit(1)


@app.command()
@handle_errors()
def cancel(
    job: str, by: Annotated[str, typer.Option(help="Who asks for it.")] = "operator"
) -> None:
    """Ask for JOB to stop; it keeps its checkpoint."""
    asyncio.run(_cancel(where(), job, by))
    typer.echo(f"asked to cancel {job}; see `imece jobs watch {job}`")


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


async def _known(at: Where, job: str) -> JobState:
    state = (await newest(at)).get(job)
    if state is None:
        raise RejectedError("unknown_job", f"there is no job {job!r}; see `imece jobs ls`")
    return state


async def _watch(at: Where, job: str) -> str:
    version = (await _known(at, job)).version
    async for event in Client(at.kafka, "imece/cli", at.security).follow(JobState):
        state = event.data
        if state.job == job and state.version >= version:
            shown = row(state)
            typer.echo(f"{shown['at']} {state.state} {shown['progress'] or ''}".rstrip())
            if state.state in ENDED:
                return str(state.state)
    return "unknown"


async def _cancel(at: Where, job: str, by: str) -> None:
    state = await _known(at, job)
    if state.state in ENDED:
        raise RejectedError("job_ended", f"job {job} has {state.state} already")
    async with Client(at.kafka, "imece/cli", at.security) as client:
        await client.publish(JobCancelRequested(job=job, by=by))
