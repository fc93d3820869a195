"""The `imece` command."""

from __future__ import annotations

import logging

import typer

from imece.cli import (
    contracts,
    dead,
    gate,
    guard,
    jobs,
    judge,
    kafka,
    models,
    review,
    suites,
    topics,
)
from imece.cli.lineage import lineage
from imece.cli.publish import publish
from imece.cli.status import status
from imece.cli.track import track
from imece.cli.watch import watch

app = typer.Typer(no_args_is_help=True, help="Publish, watch and operate imece.")
app.add_typer(kafka.app, name="kafka")
app.add_typer(guard.app, name="guard")
app.add_typer(dead.app, name="dead")
app.add_typer(jobs.app, name="jobs")
app.add_typer(judge.app, name="judge")
app.add_typer(models.app, name="models")
app.add_typer(review.app, name="review")
app.add_typer(contracts.app, name="contracts")
app.add_typer(suites.app, name="suites")
app.add_typer(gate.app, name="gate")
app.add_typer(topics.app, name="topics")
for command in (publish, watch, status, lineage, track):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    # It repeats on stderr what the error that ends a command says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app()
