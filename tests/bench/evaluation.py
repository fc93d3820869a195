"""`python -m tests.bench.evaluation [--quick] --json F`: rows E1 to E11, P1, P2 and load."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from rich.console import Console

from tests.bench import selection
from tests.bench.evaluating import errors, gates, load, scoring, texts
from tests.bench.results import Result, Row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evaluation", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer simulations and questions")
    arguments = parser.parse_args()
    data = Path(os.environ.get("IMECE_BENCH_DATA", "../shared/data"))
    began = time.monotonic()
    rows: list[Row] = [*texts.rows(data), *errors.rows(arguments.quick)]
    rows += [*gates.rows(), *selection.rows(), *load.rows()]
    rows += scoring.rows(data, arguments.quick)
    result = Result("evaluation", time.monotonic() - began, arguments.quick, tuple(rows))
    result.write(arguments.json, Console())


if __name__ == "__main__":
    main()
