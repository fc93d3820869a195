"""Turn the errors that imece raises on purpose into one line and exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from imece.errors import ImeceError
from imece.runtime.settings import Settings, complaint


@contextmanager
def handle_errors() -> Iterator[None]:
    """Print an ImeceError on stderr and exit with 2; works as ``with`` and as a decorator.

    A decorator goes below the one of typer. Other exceptions are bugs and keep their traceback.
    """
    try:
        yield
    except ImeceError as error:
        Console(stderr=True).print(Text(f"error: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(2) from error


def load_settings() -> Settings:
    """Read the settings; a bad one is named by its environment variable, then exit code 2."""
    try:
        return Settings()
    except ValidationError as error:
        message = f"error: {complaint(error)}"
        Console(stderr=True).print(Text(message, style="red"), soft_wrap=True)
        raise typer.Exit(2) from error
