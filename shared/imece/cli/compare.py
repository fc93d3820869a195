"""`imece models compare`: which models fit a use case, and how firm the first place is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from imece.cli.common import AsJson, show
from imece.cli.errors import handle_errors
from imece.selection import catalogue
from imece.selection.core import Comparison, Ranked, load_use_case
from imece.selection.core import compare as compared
from imece.selection.drawing import svg


@handle_errors()
def compare(
    *,
    use_case: Annotated[Path, typer.Option(help="TOML: requirements and weights.", exists=True)],
    evidence: Annotated[
        Path | None, typer.Option(help="JSON lines of measured facts.", exists=True)
    ] = None,
    catalogue_file: Annotated[
        Path | None, typer.Option("--catalogue", help="Instead of the built-in one.", exists=True)
    ] = None,
    drawing: Annotated[Path | None, typer.Option("--svg", help="Draw it there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models for a use case: what fits, what nothing beats, who wins and how firmly."""
    models = catalogue.load(catalogue_file)
    if evidence is not None:
        with evidence.open(encoding="utf-8") as lines:
            measured = catalogue.read_evidence(lines, str(evidence))
        models = catalogue.with_evidence(models, measured)
    found = compared(models, load_use_case(use_case))
    if drawing is not None:
        drawing.write_text(svg(found), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(described(found), ensure_ascii=False))
        return
    show([_row(at, each) for at, each in enumerate(found.ranked, 1)], False, "no model fits")
    for line in (_verdict(found), *found.turns):
        typer.echo(line)
    typer.echo(f"{len(found.excluded)} models do not fit; --json says why")


def described(found: Comparison) -> dict[str, Any]:
    """Return all of a comparison, each fact with its source, date and level."""
    return {
        "use_case": found.use_case.model_dump(mode="json"),
        "winner": found.winner,
        "turns": list(found.turns),
        "ranked": [
            {
                "model": each.model.name,
                "score": round(each.score, 6),
                "wins": each.wins,
                "pareto": each.pareto,
                "parts": dict(each.parts),
                "facts": {
                    name: fact.model_dump(mode="json") for name, fact in each.model.facts.items()
                },
            }
            for each in found.ranked
        ],
        "excluded": dict(found.excluded),
    }


def _row(place: int, each: Ranked) -> dict[str, Any]:
    parts = {name: "?" if x is None else f"{x:.2f}" for name, x in each.parts.items()}
    return {
        "": place,
        "model": each.model.name,
        "score": f"{each.score:.3f}",
        "first": f"{each.wins:.0%}",
        "pareto": "yes" if each.pareto else "",
        **parts,
    }


def _verdict(found: Comparison) -> str:
    if found.winner:
        return f"winner: {found.winner}"
    return "no clear winner: the first place holds in less than 80 % of the weight draws"
