"""`python -m tests.bench.review [--quick] --json FILE`: the queue of questions for people."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console

from tests.bench.results import Result
from tests.bench.reviewing import crowd, keyboard, simulation, tampering


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 reviewers instead of 20")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--picture", type=Path, help="only write a screenshot of the page here")
    given = parser.parse_args()
    if given.picture:
        keyboard.picture(given.picture)
        return
    begun = time.monotonic()
    rows = (
        *(crowd.exactly(8, 200) if given.quick else crowd.exactly(20, 1_000)),
        crowd.lease_back(),
        *simulation.rows(2_000),
        *keyboard.rows(60 if given.quick else 200),
        tampering.row(10 if given.quick else 40),
    )
    Result("review", time.monotonic() - begun, given.quick, rows).write(given.json, Console())


if __name__ == "__main__":
    main()
