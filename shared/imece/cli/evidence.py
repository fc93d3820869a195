"""`imece models evidence`: evaluations as measured facts for `imece models compare --evidence`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from imece.cli.common import events_of, where
from imece.cli.errors import handle_errors
from imece.errors import RejectedError
from imece.events import Envelope, EvaluationCompleted
from imece.selection.catalogue import Measured


@handle_errors()
def evidence(
    model: Annotated[str, typer.Argument(help="A model's name, as it was evaluated.")],
    *,
    as_: Annotated[str, typer.Option("--as", help="Its name in the catalogue.")],
    metric: Annotated[str, typer.Option(help="The figure's name begins so.")] = "accuracy",
    slice_: Annotated[str, typer.Option("--slice", help="Over which items.")] = "all",
) -> None:
    """Print what evaluations of MODEL measured, one JSON line each, the oldest first."""
    told = asyncio.run(events_of(where(), EvaluationCompleted))
    for each in measured(told, model, as_, metric, slice_):
        typer.echo(each.model_dump_json())


def measured(
    told: Sequence[Envelope[EvaluationCompleted]], model: str, name: str, metric: str, slice_: str
) -> list[Measured]:
    """Return the first such figure of each evaluation; RejectedError where there is none."""
    found = []
    for event in told:
        if event.data.model != model:
            continue
        figures = [
            each.value
            for each in event.data.metrics
            if each.slice == slice_ and each.name.partition("|")[0] == metric
        ]
        for value in figures[:1]:
            source, day = f"evaluation {event.data.evaluation}", event.time.date()
            found.append(Measured(model=name, fact="own", value=value, source=source, date=day))
    if not found:
        raise RejectedError(
            "not_measured",
            f"no evaluation of {model} has {metric} over {slice_}; see `imece watch`",
        )
    return found
