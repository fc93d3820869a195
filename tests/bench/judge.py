"""`python -m tests.bench.judge [--quick] --json F`: rows J1-J10 of the judge."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

import structlog
from rich.console import Console

from tests.bench.judging import faults, replay, tricks
from tests.bench.results import Result, Row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.judge", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer draws, half the latency")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    data = Path(os.environ.get("IMECE_BENCH_DATA", "../shared/data"))
    began = time.monotonic()
    rows = [*replay.rows(data, arguments.quick), *faults.rows(arguments.quick), *tricks.rows(data)]
    rows.sort(key=_order)
    Result("judge", time.monotonic() - began, arguments.quick, tuple(rows)).write(
        arguments.json, Console()
    )


def _order(row: Row) -> int:
    return int(row.id.removeprefix("J").partition(".")[0])


if __name__ == "__main__":
    main()
