"""`imece kafka`: start, stop and look at the embedded Kafka of this home."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from imece.cli.errors import handle_errors, load_settings
from imece.errors import ConfigError
from imece.local import kafka, probe
from imece.local.jars import Say
from imece.runtime.settings import Settings

app = typer.Typer(no_args_is_help=True, help="A real single-node Apache Kafka on this machine.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of 127.0.0.1 [default: free]")
]
JavaPath = Annotated[Path | None, typer.Option(help="A Java >= 17 (executable or its home).")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait until it answers.")]
Grace = Annotated[float, typer.Option(min=0, help="Seconds from SIGTERM to SIGKILL.")]


@app.command()
@handle_errors()
def start(
    port: Port = None, java: JavaPath = None, timeout: Timeout = 60, as_json: AsJson = False
) -> None:
    """Start Kafka, fetching it on first use, and wait until it answers; running is fine too."""
    settings = load_settings()
    if settings.kafka:
        raise ConfigError(
            f"IMECE_KAFKA={settings.kafka} is set, so imece uses that broker: "
            "unset it to start the embedded one"
        )
    begin = time.monotonic()
    with _spinner("looking for Kafka") as say:
        kafka.start(
            settings.home, settings.cache, port=port, java=java, timeout=timeout, say=say
        )  # fmt: skip
    _report(describe(settings) | {"seconds": round(time.monotonic() - begin, 2)}, as_json)


@app.command()
@handle_errors()
def stop(grace: Grace = 30, as_json: AsJson = False) -> None:
    """Stop the embedded Kafka; its data stay. Stopping what does not run is fine."""
    settings = load_settings()
    with _spinner("stopping Kafka"):
        stopped = kafka.stop(settings.home, grace=grace)
    _report({"state": "stopped", "was_running": stopped, "home": str(settings.home)}, as_json)


@app.command()
@handle_errors()
def status(as_json: AsJson = False) -> None:
    """Say which broker is used and whether it answers; exit code 1 when none does."""
    found = describe(load_settings())
    _report(found, as_json)
    if found["state"] not in ("running", "not checked"):
        raise typer.Exit(1)


def describe(settings: Settings) -> dict[str, Any]:
    """Return what `status` prints; `state` is running, silent (no answer), stopped, not checked."""
    if settings.kafka:
        return _describe_external(settings.kafka, settings.kafka_security)
    broker = kafka.status(settings.home)
    folder = settings.home / "kafka"
    if broker is None:
        return {"state": "stopped", "kind": "embedded", "home": str(settings.home)}
    return {
        "state": "running" if probe.controller(broker.address) is not None else "silent",
        "kind": "embedded",
        "address": broker.address,
        "pid": broker.pid,
        "version": broker.version,
        "java": broker.java,
        "home": str(settings.home),
        "log": str(folder / "broker.log"),
    }


def _describe_external(addresses: str, security: str) -> dict[str, Any]:
    found = {"kind": "external (IMECE_KAFKA)", "address": addresses}
    if security != "PLAINTEXT":  # the probe speaks neither TLS nor SASL
        return {"state": "not checked", **found, "security": security}
    answers = any(probe.controller(one.strip()) is not None for one in addresses.split(","))
    return {"state": "running" if answers else "silent", **found}


def _report(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    out = Console(highlight=False)
    for key, value in found.items():
        out.print(f"[bold]{key:<12}[/bold]", end="")
        out.print(str(value), markup=False, soft_wrap=True)


@contextmanager
def _spinner(first: str) -> Iterator[Say]:
    """Show what goes on: a spinner on a terminal, lines in a log; on stderr, so JSON stays JSON."""
    err = Console(stderr=True)
    if not err.is_terminal:
        yield lambda text: err.print(text, markup=False, soft_wrap=True)
        return
    with err.status(first) as spinner:
        yield spinner.update
