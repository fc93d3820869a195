"""The demo's report on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from imece.events import Check
from tests.demo.figures import answers, figures, reasons, verdicts
from tests.demo.page import NAMES
from tests.demo.story import Outcome


def show(outcome: Outcome, console: Console) -> None:
    """Print the report."""
    console.print(_decision_table(outcome))
    console.print(_answer_table(outcome))
    for model, decision in outcome.promotions.items():
        console.print(f"\n[bold]Gate on {model}: {decision.verdict}[/bold]")
        for check in _telling(decision.checks):
            console.print(f"  {check.outcome} {check.name}: {check.detail}", soft_wrap=True)
        for told in ("passed", "inconclusive"):
            names = ", ".join(check.name for check in decision.checks if check.outcome == told)
            console.print(f"  [dim]{told}: {names or 'none'}[/dim]", soft_wrap=True)
        console.print(f"  champion is now: [bold]{decision.champion.name}[/bold]")
    table = Table("figure", "value", title="Measured in this run")
    for name, value in figures(outcome).items():
        table.add_row(name, "not measured" if value is None else f"{value:.3f}")
    console.print(table)


def _telling(checks: tuple[Check, ...]) -> list[Check]:
    """What a model was refused for, or else what it was promoted for; the page tells all."""
    failed = [check for check in checks if check.outcome == "failed"]
    return failed or [check for check in checks if check.name == "superiority"]


def _decision_table(outcome: Outcome) -> Table:
    table = Table("who", "accepted", "quarantined", "rejected", title="What feedback-guard decided")
    for kind, row in verdicts(outcome).items():
        counts = [str(row[name]) for name in ("accept", "quarantine", "reject")]
        table.add_row(NAMES[kind], *counts)
    for code, count in list(reasons(outcome).items())[:8]:
        table.add_row(f"[dim]kept out because {code}[/dim]", "", f"[dim]{count}[/dim]", "")
    return table


def _answer_table(outcome: Outcome) -> Table:
    models = list(outcome.items)
    table = Table("asked", *models, title="Held-out probes of the attacked facts")
    for prompt, by_model in answers(outcome):
        cells = []
        for model in models:
            answer, right = by_model.get(model, ("", False))
            cells.append(f"[{'green' if right else 'red'}]{answer.strip()[:40]}[/]")
        table.add_row(prompt, *cells)
    return table
