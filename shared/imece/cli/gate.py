"""`imece gate`: recompute what the promotion gate decided, from the inputs it named."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, events_of, show, where
from imece.cli.errors import handle_errors
from imece.errors import ConfigError
from imece.events import PromotionDecided

app = typer.Typer(no_args_is_help=True, help="Look at promotions.")
_SECONDS = 600


@app.callback()
def _group() -> None:
    """Keep `explain` a subcommand."""


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
        raise ConfigError(f"no decision about {model}; see `imece watch`")
    result = recompute(found[-1])
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print(found[-1], result)
    raise typer.Exit(0 if result["same"] else 1)


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
