"""The common form of a benchmark's result: a table for people, JSON for machines."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure; `holds` is None when it could not be computed, and `note` says why."""

    id: str
    value: float | None
    unit: str
    bar: str = ""
    holds: bool | None = None
    ci: tuple[float, float] | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Result:
    """All rows of one run."""

    bench: str
    seconds: float
    quick: bool
    rows: tuple[Row, ...]

    def write(self, path: Path | None, console: Console) -> None:
        """Print the table, and write the JSON when asked to."""
        table = Table("row", "value", "unit", "bar", "holds", "note", title=self.bench)
        for row in self.rows:
            value = "-" if row.value is None else f"{row.value:.4g}"
            holds = {True: "[green]yes", False: "[red]no", None: ""}[row.holds]
            table.add_row(row.id, value, row.unit, row.bar, holds, row.note)
        console.print(table)
        if path is not None:
            body = asdict(self) | {"machine": machine(), "commit": commit()}
            path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Name the processor and what runs on it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(lines)} x {lines[0].partition(':')[2].strip()}" if lines else model
    return f"{model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def commit() -> str:
    """Name the commit, with + when the tree differs from it."""
    try:
        told = ["git", "describe", "--always", "--dirty=+"]
        return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
