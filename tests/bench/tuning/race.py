"""Let the ways run one task in turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.tuning.material import Task

Way = Callable[[Path, Task, Path], float]


@dataclass
class Laps:
    """What one way did; `missing` says why it did nothing."""

    rates: list[float] = field(default_factory=list)
    """Rows a second of each repeat."""
    adapter: Path | None = None
    """What the last repeat learnt."""
    missing: str = ""


def race(
    ways: Mapping[str, Way],
    base: Path,
    task: Task,
    repeats: int,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Laps]:
    """Run every way `repeats` times, each time another one first; `tell` hears of each lap."""
    found = {name: Laps() for name in ways}
    names = list(ways)
    for repeat in range(repeats):
        turn = repeat % len(names)
        for name in names[turn:] + names[:turn]:
            if not found[name].missing:
                out = folder / f"{task.name}-{name}-{repeat}"
                _lap(found[name], partial(ways[name], base, task, out), task, out)
                rate = f"{found[name].rates[-1]:.2f} rows/s" if found[name].rates else "missing"
                tell(f"{task.name} {repeat + 1}/{repeats} {name}: {rate}")
    return found


def _lap(laps: Laps, run: Callable[[], float], task: Task, out: Path) -> None:
    try:
        seconds = run()
    except ImportError as error:
        laps.missing = f"not installed: {error.name or error}"
        return
    laps.rates.append(len(task.rows) * task.recipe.epochs / seconds)
    laps.adapter = out
    gc.collect()
