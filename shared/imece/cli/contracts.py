"""`imece contracts`: write or check the generated contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imece import contracts
from imece.cli.errors import handle_errors
from imece.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="JSON Schemas, AsyncAPI document and table.")


@app.callback()
def _group() -> None:
    """Keep `write` a command of its own: typer folds a group of one."""


@app.command()
@handle_errors()
def write(
    folder: Annotated[Path, typer.Argument()] = Path("docs/contracts"),
    check: Annotated[bool, typer.Option("--check", help="Exit 1 on differences.")] = False,
) -> None:
    """Write the contracts; refuses a change that breaks a published major version."""
    if found := contracts.broken(folder):
        raise ConfigError(f"give the event a new major version: {'; '.join(found)}")
    if not check:
        contracts.write(folder)
        typer.echo(f"{len(contracts.files())} files written to {folder}")
        return
    if stale := contracts.differences(folder):
        typer.echo(f"outdated, run `imece contracts write`: {', '.join(stale)}", err=True)
        raise typer.Exit(1)
