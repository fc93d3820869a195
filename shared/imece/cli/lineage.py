"""`imece lineage`: what went into a model, and which models learned from a row or a user."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Annotated, Any, Literal

import typer

from imece.cli.common import AsJson, Where, events_of, show, where
from imece.cli.errors import handle_errors
from imece.errors import RejectedError
from imece.events import (
    AdapterTainted,
    AdapterTrained,
    Envelope,
    ModelTrained,
    PromotionDecided,
)
from imece.runtime import datasets
from imece.runtime import lineage as trace
from imece.runtime.artifacts import Artifacts

Kind = Literal["auto", "model", "row", "user"]


@handle_errors()
def lineage(
    what: Annotated[str, typer.Argument(help="A model, a row, a record or feedback, or a user.")],
    kind: Annotated[Kind, typer.Option(help="What WHAT is, where it is unclear.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Show what a model was made of, or which models learned from a row or a user."""
    at = where()
    known = asyncio.run(_known(at))
    found = _found(at, known, what, kind)
    if not found:
        raise RejectedError("unknown", f"no model, trained row or user is known as {what!r}")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        show([_flat(each) for each in found], as_json)


async def _known(at: Where) -> trace.Known:
    trained: list[Envelope[Any]] = [*await events_of(at, AdapterTrained)]
    trained += await events_of(at, ModelTrained)
    return trace.Known(
        sorted(trained, key=lambda event: event.time),
        await events_of(at, PromotionDecided),
        await events_of(at, AdapterTainted),
    )


def _found(at: Where, known: trace.Known, what: str, kind: Kind) -> list[dict[str, Any]]:
    artifacts = Artifacts(at.settings.artifacts_url())
    rows = functools.cache(functools.partial(datasets.read, artifacts))
    if kind in ("auto", "model") and (found := trace.backward(what, known, rows)):
        return found
    if kind in ("auto", "row") and (found := trace.forward(known, rows, trace.of_row(what))):
        return found
    if kind in ("auto", "user"):
        return trace.forward(known, rows, trace.of_user(what))
    return []


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """Return what fits a table: counts in place of lists."""
    if "recipe" not in found:
        return {**found, "rows": len(found["rows"])}
    sets = found["datasets"]
    return {
        **{key: found[key] for key in ("model", "at", "base", "verdict", "revoked_rows", "job")},
        "method": found["recipe"].get("method", "from scratch"),
        "datasets": ", ".join(f"{each['dataset']} v{each['version']}" for each in sets),
        "rows": sum(each["rows"] for each in sets),
        "feedback": sum(len(each["feedback"]) for each in sets),
        "users": len({user for each in sets for user in each["users"]}),
    }
