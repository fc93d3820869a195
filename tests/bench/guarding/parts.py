"""Parts of a run: each keeps its rows when it is done, and one that fails costs only itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tests.bench.guarding.kept import Kept
from tests.bench.guarding.runs import Bench
from tests.bench.results import Row

Part = Callable[[Bench], list[Row]]
FAILED = "failed: "


def run(
    parts: Mapping[str, Part],
    wanted: Sequence[str],
    bench: Bench,
    console: Console,
    after: Callable[[list[Row], float], None],
) -> tuple[list[Row], float]:
    """Run the wanted parts that are not kept yet; return all rows known and their seconds.

    `after` is called with what is known whenever a part is done. A part that fails gives one row
    that says why, and is tried again by the next run.
    """
    kept = bench.kept
    assert kept is not None
    failed: dict[str, Row] = {}
    with _bars(console) as bars:
        whole, inner = bars.add_task("parts", total=len(wanted)), bars.add_task("", total=None)
        for name in wanted:
            bars.reset(inner, description=name, total=None)
            tell = lambda done, every: bars.update(inner, completed=done, total=every)  # noqa: E731
            if f"part {name}" not in kept:
                row = _one(name, parts[name], replace(bench, tell=tell), kept, console)
                failed |= {name: row} if row else {}
                after(*known(parts, kept, failed))
            bars.advance(whole)
    return known(parts, kept, failed)


def _one(name: str, part: Part, bench: Bench, kept: Kept, console: Console) -> Row | None:
    """Run a part; return a row that says why it failed, if it did."""
    began = time.monotonic()
    try:
        rows = part(bench)
    except Exception as error:  # whatever it is, the other parts must not be lost
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        console.print_exception()
        return Row(f"guard.part.{name}", None, "", holds=False, note=FAILED + told)
    took = time.monotonic() - began
    kept.keep(f"part {name}", {"seconds": took, "rows": [asdict(row) for row in rows]})
    return None


def known(
    parts: Mapping[str, Part], kept: Kept, failed: Mapping[str, Row]
) -> tuple[list[Row], float]:
    """Return the rows of all parts that are kept, in order, with failures between them."""
    rows: list[Row] = []
    seconds = 0.0
    for name in parts:
        if f"part {name}" in kept:
            found = kept[f"part {name}"]
            seconds += found["seconds"]
            rows += [_row(each) for each in found["rows"]]
        elif name in failed:
            rows.append(failed[name])
    return rows, seconds


def _row(plain: dict[str, object]) -> Row:
    ci = plain["ci"]
    return Row(**{**plain, "ci": tuple(ci) if isinstance(ci, list) else None})  # type: ignore[arg-type]


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
