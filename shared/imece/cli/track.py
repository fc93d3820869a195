"""`imece track`: show runs, models and champions in MLflow, from what the topics hold."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from imece.cli.common import Where, where
from imece.cli.errors import handle_errors
from imece.client import Client
from imece.errors import ConfigError


@handle_errors()
def track(
    once: Annotated[bool, typer.Option(help="End when nothing new comes for 5 s.")] = False,
) -> None:
    """Mirror training, evaluation and promotion events into MLflow at IMECE_TRACKING.

    Without that setting it is a SQLite file in IMECE_HOME. Repeating it changes nothing.
    """
    taken = asyncio.run(_track(where(), 5.0 if once else None))
    typer.echo(f"{taken} events taken")


async def _track(at: Where, patience: float | None) -> int:
    try:
        from imece.runtime.tracking import KINDS, Tracker  # MLflow takes seconds to import
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; pip install 'imece[tracking]'") from error
    url = at.settings.tracking or f"sqlite:///{at.settings.home / 'mlflow.db'}"
    tracker, taken = await asyncio.to_thread(Tracker, url), 0
    client = Client(at.kafka, "imece/cli", at.security)
    async for event in client.follow(*KINDS, timeout=patience):
        await asyncio.to_thread(tracker.take, event)
        taken += 1
    return taken
