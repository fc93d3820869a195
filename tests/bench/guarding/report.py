"""The measured table as a document: figures with bars, attacks, baselines and ablations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from tests.bench.guarding.ablations import WITHOUT
from tests.bench.guarding.stream import people_of
from tests.bench.guarding.wide import CORRECTIONS
from tests.bench.results import Row, commit, machine

_STAGES = [f"without_{stage}" for stage in ("nothing", *WITHOUT)]
_HEAD = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


def document(
    rows: Sequence[Row],
    seconds: float,
    *,
    quick: bool,
    events: int,
    wide: int,
    pictures: Sequence[str],
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
        wide=wide,
        people=people_of(events),
    )
    parts = [text, "## Figures", _figures(single)]
    parts += ["## Missed", _missed(rows)]
    parts += ["## Attacks", _figures([r for r in rows if r.id in _forms(rows)])]
    parts += ["## Beside the baselines", _matrix(rows, _rivals(rows))]
    parts += ["Where one of them lets in less poison than the guard:", _better(rows)]
    parts += ["## By share of events and accounts", _figures([r for r in rows if ".rate0" in r.id])]
    parts += ["## Without one stage", _matrix(rows, _STAGES)]
    parts += ["## Pictures", *(f"![{name}](img/{name})" for name in pictures)]
    return "\n\n".join(parts) + "\n"


def _missed(rows: Sequence[Row]) -> str:
    told = [
        f"- `{r.id}` {r.note}." if r.value is None else f"- `{r.id}` is {_number(r)}, bar {r.bar}."
        for r in rows
        if r.holds is False
    ]
    return "\n".join(told) or "Nothing."


def _better(rows: Sequence[Row]) -> str:
    """Name baselines that beat the guard on an attack, with what they cost honest people."""
    found = {r.id: r for r in rows}
    told = []
    for id in sorted(_forms(rows)):
        for name in _rivals(rows):
            rival, ours = found.get(f"{id}.{name}"), found[id]
            if rival is None or rival.value is None or ours.value is None:
                continue
            if rival.value < ours.value:
                honest = rival.baselines.get(CORRECTIONS, 0)
                told.append(
                    f"- `{id}`: {name} {_number(rival)}, the guard {_number(ours)};"
                    f" {name} accepts {honest:.2f} of true corrections."
                )
    return "\n".join(told) or "Nowhere."


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
    honest = [_kept_honest(rows, column) for column in columns]
    if any(honest):
        own = [r.value for r in rows if r.id == "guard.honest_24h" and r.value is not None]
        ours = f"{own[0]:.2f}" if own else ""
        lines.append(f"| *true corrections accepted* | {ours} | {' | '.join(honest)} |")
    return "\n".join(lines)


def _kept_honest(rows: Sequence[Row], column: str) -> str:
    """What a column costs honest people, over all attacks that it was run on."""
    every = [r.baselines[CORRECTIONS] for r in rows if r.id.endswith(f".{column}") and r.baselines]
    return f"{mean(every):.2f}" if every else ""


def _number(row: Row) -> str:
    return "–" if row.value is None else f"{row.value:.3g}"
