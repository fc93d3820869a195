"""`imece gate`: approve what waits, clear a breaker, recompute a decision from its inputs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.client import Client
from imece.errors import ConfigError, RejectedError
from imece.events import (
    BreakerCleared,
    CanaryReported,
    PromotionApproved,
    PromotionDecided,
    PromotionProposed,
)
from imece.runtime.families import unversioned
from imece.runtime.text import fold

app = typer.Typer(no_args_is_help=True, help="Promotions: why, what waits, agree, refuse.")
_SECONDS = 600
_CLEARED = 1000
Evaluation = Annotated[str, typer.Argument(help="The evaluation's id.")]
By = Annotated[str, typer.Option("--by", help="Who says it: one name a person, always the same.")]
Note = Annotated[str, typer.Option(help="Why; kept with the decision.")]


@app.command()
@handle_errors()
def explain(
    model: Annotated[str, typer.Argument(help="A model's name, or an evaluation's id.")],
    as_json: AsJson = False,
) -> None:
    """Decide again from the stored answers, judgements and policy; exit 1 if it differs."""
    found = [
        event.data
        for event in asyncio.run(events_of(where(), PromotionDecided))
        if model in (event.data.model, event.data.evaluation)
    ]
    if not found:
        topic = PromotionDecided.topic.name
        raise ConfigError(f"no decision about {model}; see `imece watch {topic}`")
    result = recompute(found[-1])
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print(found[-1], result)
    raise typer.Exit(0 if result["same"] else 1)


@app.command()
@handle_errors()
def pending(as_json: AsJson = False) -> None:
    """List promotions that wait for people or for a canary."""
    show(asyncio.run(_pending(where())), as_json, "no promotion waits for people")


@app.command()
@handle_errors()
def approve(evaluation: Evaluation, by: By, note: Note = "") -> None:
    """Agree to the promotion that EVALUATION proposes."""
    asyncio.run(_say(where(), evaluation, by, note, approved=True))
    typer.echo(f"{by} approves {evaluation}; `imece gate pending` shows what still waits")


@app.command()
@handle_errors()
def deny(evaluation: Evaluation, by: By, note: Note = "") -> None:
    """Refuse the promotion that EVALUATION proposes; one denial rejects it."""
    asyncio.run(_say(where(), evaluation, by, note, approved=False))
    typer.echo(f"{by} denies {evaluation}")


@app.command()
@handle_errors()
def clear(
    model: Annotated[str, typer.Argument(help="The model whose promotions are stopped.")],
    by: By,
    note: Note = "",
) -> None:
    """Let MODEL, in any version, be promoted again; look at its breaches with `explain` first."""
    cleared = asyncio.run(_clear(where(), model, by, note))
    typer.echo(f"{by} clears {len(cleared)} decisions about {model}: {', '.join(cleared)}")
    typer.echo("evaluate it again to propose a promotion")


async def _clear(at: Where, model: str, by: str, note: str) -> list[str]:
    told = await events_of(at, BreakerCleared)
    line = unversioned(model)
    before = {
        id
        for event in told
        if unversioned(event.data.model) == line
        for id in event.data.evaluations
    }
    found = dict.fromkeys(
        event.data.evaluation
        for event in await events_of(at, PromotionDecided)
        if unversioned(event.data.model) == line
        and (event.data.verdict == "reject" or event.data.rolled_back)
        and event.data.evaluation not in before
    )
    ids = list(found)[-_CLEARED:]
    if not ids:
        raise RejectedError(
            "nothing_to_clear", f"no decision about {model} rejects it, or all are cleared"
        )
    said = BreakerCleared(model=model, evaluations=tuple(ids), by=by, note=note)
    async with Client(at.kafka, "imece/cli", at.security) as client:
        await client.publish(said)
    return ids


async def _pending(at: Where) -> list[dict[str, Any]]:
    decided = {event.data.evaluation for event in await events_of(at, PromotionDecided)}
    words = await events_of(at, PromotionApproved)
    reports = [event.data for event in await events_of(at, CanaryReported)]
    proposed = {e.data.evaluation: e.data for e in await events_of(at, PromotionProposed)}
    return [
        {
            "evaluation": each.evaluation,
            "model": each.model,
            "champion": each.champion.name,
            "people": each.people,
            "canary": _counted(each, reports),
            "said": ", ".join(
                f"{w.data.by}: {'yes' if w.data.approved else 'no'}"
                for w in words
                if w.data.evaluation == each.evaluation
            ),
            "requested_by": each.requested_by or "",
            "expires_at": each.expires_at.isoformat(timespec="seconds"),
        }
        for each in proposed.values()
        if each.evaluation not in decided
    ]


def _counted(waiting: PromotionProposed, reports: Sequence[CanaryReported]) -> str:
    """Say what the canary has counted so far."""
    if waiting.canary is None:
        return ""
    mine = [r for r in reports if (r.evaluation, r.by) == (waiting.evaluation, waiting.canary)]
    last = max(mine, key=lambda r: r.wins + r.losses, default=None)
    told = f"{last.wins} better, {last.losses} worse" if last else "nothing yet"
    return f"{waiting.canary}: {told}"


async def _say(at: Where, evaluation: str, by: str, note: str, *, approved: bool) -> None:
    waiting = {each["evaluation"]: each for each in await _pending(at)}
    if evaluation not in waiting:
        raise RejectedError(
            "nothing_to_approve", f"{evaluation} does not wait for people; see `imece gate pending`"
        )
    asked = waiting[evaluation]["requested_by"]
    if approved and asked and fold(asked) == fold(by):
        raise RejectedError(
            "own_request", f"{by} asked for {evaluation}; somebody else has to approve it"
        )
    said = PromotionApproved(evaluation=evaluation, by=by, approved=approved, note=note)
    async with Client(at.kafka, "imece/cli", at.security) as client:
        await client.publish(said)


def recompute(decision: PromotionDecided) -> dict[str, Any]:
    """Run the evaluator's own gate on the decision's evidence, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "services.evaluator.explain"],
        input=decision.model_dump_json(),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        result: dict[str, Any] = json.loads(run.stdout)
    except ValueError:
        last = run.stderr.strip().rpartition("\n")[2]
        raise ConfigError(
            f"the evaluator cannot be run here: {last}; run this in the folder of the services"
        ) from None
    if "error" in result:
        raise ConfigError(f"cannot be recomputed: {result['error']}")
    return result


def _print(told: PromotionDecided, result: dict[str, Any]) -> None:
    typer.echo(
        f"{told.model}: {told.verdict} by policy {told.policy} (evaluation {told.evaluation})"
    )
    rows = [{"check": c.name, "outcome": c.outcome, "detail": c.detail} for c in told.checks]
    show(rows, as_json=False)
    for name, value in sorted(told.inputs.items()):
        typer.echo(f"  {name}: {value}")
    if result["same"]:
        typer.echo("recomputed from these inputs: the same, bit for bit")
    else:
        typer.echo(f"recomputed from these inputs: DIFFERENT in {', '.join(result['differing'])}")
