"""`make demo`: the whole loop on this machine, in a few minutes, with a report."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from imece.errors import ImeceError
from imece.events import LoraRecipe
from imece.local import models
from imece.runtime.settings import Settings
from tests.demo import page, report, story
from tests.demo.figures import figures
from tests.demo.story import BASE, Outcome, play
from tests.demo.world import wait_ready, world

MODELS = ("unguarded", "guarded")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("demo-report.html"))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder")
    parser.add_argument("--clean-only", action="store_true", help="train a third model for scale")
    arguments = parser.parse_args()
    console = Console()
    began = time.monotonic()
    try:
        names = (*MODELS, "clean-only") if arguments.clean_only else MODELS
        outcome = run(console, names, keep=arguments.keep)
    except ImeceError as error:
        console.print(f"[red]error:[/red] {error}", soft_wrap=True)
        return 2
    outcome.seconds = time.monotonic() - began
    report.show(outcome, console)
    arguments.report.write_text(page.page(outcome), encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures(outcome), indent=2) + "\n")
    console.print(f"\nThe report with pictures: {arguments.report}")
    return 0


def run(console: Console, names: tuple[str, ...] = MODELS, *, keep: bool = False) -> Outcome:
    """Start the world, play the story, end the world."""
    settings = Settings()
    home = story.home_of(settings.cache / "demo")
    home.mkdir(parents=True)
    try:
        with _progress(console) as (say, _):
            say("base model and Kafka (the first run fetches them)")
            models.resolve(BASE, settings.cache)
            with world(home, settings.cache) as started:
                say("services start")
                wait_ready(started)
                return asyncio.run(play(started, say, LoraRecipe(), names))
    except BaseException:
        log = home / "services.log"
        if log.exists():
            shutil.copy(log, "demo-services.log")
            console.print("the services' log is in demo-services.log")
        raise
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


class _progress:  # noqa: N801 (reads as a function)
    """A spinner whose line tells what happens now; plain lines where no terminal is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self):  # type: ignore[no-untyped-def]
        self._bar.start()
        task = self._bar.add_task("starting")
        began = time.monotonic()

        def say(text: str) -> None:
            self._bar.update(task, description=text)
            if ": step " not in text:
                self._bar.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {text}")

        return say, self._bar

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


if __name__ == "__main__":
    sys.exit(main())
