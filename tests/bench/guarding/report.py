"""The measured table as a document: figures with bars, attacks, baselines and ablations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.guarding.ablations import WITHOUT
from tests.bench.results import Row, commit, machine

_HEAD = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


def document(
    rows: Sequence[Row], seconds: float, *, quick: bool, events: int, pictures: Sequence[str]
) -> str:
    """Return the Markdown text."""
    named = [r for r in rows if r.bar or r.value is None or r.id.count(".") == 1]
    single = [r for r in named if not _attack(r.id)]
    text = _HEAD.format(
        options=" --quick" if quick else "",
        commit=commit(),
        machine=machine(),
        seconds=seconds,
        events=events,
        people=events // 4,
    )
    parts = [text, "## Figures", _figures(single)]
    missed = [r for r in rows if r.holds is False]
    parts.append("## Missed")
    parts.append(
        "\n".join(f"- `{r.id}` is {_number(r)}, the bar is {r.bar}." for r in missed) or "Nothing."
    )
    parts += ["## Attacks", _figures([r for r in rows if r.id in _forms(rows)])]
    parts += ["## Beside the baselines", _matrix(rows, _rivals(rows))]
    parts += ["## By share of events and accounts", _figures([r for r in rows if ".rate0" in r.id])]
    parts += ["## Without one stage", _matrix(rows, [f"without_{stage}" for stage in WITHOUT])]
    parts += ["## Pictures", *(f"![{name}](img/{name})" for name in pictures)]
    return "\n\n".join(parts) + "\n"


def _attack(id: str) -> bool:
    part = id.split(".")[1]
    return part[:1] == "a" and part[1:].isdigit()


def _forms(rows: Sequence[Row]) -> set[str]:
    """Ids of the rows that are an attack's own."""
    return {r.id for r in rows if _attack(r.id) and r.id.removesuffix(".adaptive").count(".") == 1}


def _rivals(rows: Sequence[Row]) -> list[str]:
    last = [r.id.rpartition(".")[2] for r in rows if _attack(r.id) and r.id not in _forms(rows)]
    other = ("without_", "rough_", "accounts")
    return [name for name in dict.fromkeys(last) if not name.startswith(other)]


def _figures(rows: Sequence[Row]) -> str:
    lines = ["| row | value | 95 % | bar | holds | note |", "| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        span = f"{r.ci[0]:.3f} to {r.ci[1]:.3f}" if r.ci else ""
        holds = {True: "yes", False: "**no**", None: ""}[r.holds]
        lines.append(f"| `{r.id}` | {_number(r)} | {span} | {r.bar} | {holds} | {r.note} |")
    return "\n".join(lines)


def _matrix(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Poison accepted by attack and column; the guard's own mean stands first."""
    found = {r.id: r for r in rows}
    lines = [
        f"| attack | guard | {' | '.join(columns)} |",
        "| --- |" + " --- |" * (len(columns) + 1),
    ]
    for r in rows:
        cells = [found.get(f"{r.id}.{column}") for column in columns]
        if r.id in _forms(rows) and any(cells):
            told = " | ".join(_number(cell) if cell else "" for cell in cells)
            lines.append(f"| {r.id.removeprefix('guard.')} | {_number(r)} | {told} |")
    return "\n".join(lines)


def _number(row: Row) -> str:
    return "–" if row.value is None else f"{row.value:.3g}"
