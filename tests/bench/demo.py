"""`python -m tests.bench.demo --json F`: the demo, headless, with its bars."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.bench.results import Result, Row
from tests.demo.__main__ import MODELS, run
from tests.demo.figures import figures

Holds = Callable[[float, dict[str, float | None]], bool]
BARS: dict[str, tuple[str, str, Holds]] = {
    "demo.seconds": ("s", "<= 240 warm", lambda v, _: v <= 240),
    "demo.guarded_probes": ("share", ">= 0.95", lambda v, _: v >= 0.95),
    "demo.unguarded_probes": ("share", "<= 0.40", lambda v, _: v <= 0.40),
    "demo.clean_guarded": (
        "share",
        ">= base, within 0.03 of clean-only",
        lambda v, all: (
            v >= (all["demo.clean_base"] or 0) and v >= (all["demo.clean_only"] or 0) - 0.03 - 1e-9
        ),
    ),
    "demo.clean_only": ("share", "", lambda *_: True),
    "demo.clean_base": ("share", "", lambda *_: True),
    "demo.campaign_kept_out": ("share", ">= 0.95", lambda v, _: v >= 0.95),
    "demo.honest_rejected": ("share", "<= 0.01", lambda v, _: v <= 0.01),
    "demo.true_corrections_rejected": ("events", "0", lambda v, _: v == 0),
    "demo.kafka_ready_s": ("s", "<= 15", lambda v, _: v <= 15),
    "demo.decision_p95_s": ("s", "", lambda *_: True),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.demo", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="leave out the clean-only training")
    arguments = parser.parse_args()
    console = Console()
    began = time.monotonic()
    outcome = run(console, MODELS)
    # The demo is two models; the clean-only one is for scale and not part of its time.
    seconds = time.monotonic() - began
    found = figures(outcome) | {"demo.seconds": seconds}
    if not arguments.quick:
        third = figures(run(console, ("clean-only",)))
        found["demo.clean_only"] = third["demo.clean_only"]
    rows = tuple(_row(name, value, found) for name, value in found.items())
    Result("demo", time.monotonic() - began, arguments.quick, rows).write(arguments.json, console)


def _row(name: str, value: float | None, found: dict[str, float | None]) -> Row:
    unit, bar, holds = BARS[name]
    if value is None:
        return Row(name, None, unit, bar, note="not trained in a quick run")
    return Row(name, value, unit, bar, holds(value, found) if bar else None)


if __name__ == "__main__":
    main()
