"""The demo's report: tables on the terminal and a self-contained page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.table import Table

from tests.demo.figures import answers, figures, reasons, verdicts
from tests.demo.story import Outcome

COLOURS = {"accept": "#2b8a3e", "quarantine": "#e8a33d", "reject": "#c92a2a"}
NAMES = {
    "honest": "honest thumbs and ratings",
    "true-correction": "true corrections",
    "farming": "campaign, farming trust",
    "campaign": "campaign, teaching lies",
}
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#212529}table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{text-align:left;
padding:.3rem .6rem;border-bottom:1px solid #dee2e6;vertical-align:top}.no{color:#c92a2a}
.yes{color:#2b8a3e}svg{width:100%;height:auto}h2{margin-top:2.5rem}small{color:#6c757d}"""


def show(outcome: Outcome, console: Console) -> None:
    """Print the report."""
    console.print(_decision_table(outcome))
    console.print(_answer_table(outcome))
    for model, decision in outcome.promotions.items():
        console.print(f"\n[bold]Gate on {model}: {decision.verdict}[/bold]")
        for check in decision.checks:
            console.print(f"  {check.outcome:>12}  {check.name}: {check.detail}")
        console.print(f"  champion is now: [bold]{decision.champion.name}[/bold]")
    table = Table("figure", "value", title="Measured in this run")
    for name, value in figures(outcome).items():
        table.add_row(name, "not measured" if value is None else f"{value:.3f}")
    console.print(table)


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


def page(outcome: Outcome) -> str:
    """Return the whole report as one HTML page without outside resources."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>imece demo report</title>",
        f"<style>{STYLE}</style><h1>imece: what happened in this run</h1>",
        f"<p>{len(outcome.sent)} feedback events went through Kafka; the loop took "
        f"{outcome.seconds:.0f} s. Every number below was measured in this run.</p>",
        "<h2>Who sent what, and what the guard decided</h2>",
        _bars(outcome),
        _reason_list(outcome),
        "<h2>Training loss</h2>",
        _losses(outcome),
        "<h2>Answers before and after</h2>",
        _answers(outcome),
        "<h2>The gate</h2>",
        _gate(outcome),
        "<h2>Judge</h2>",
        _judge(outcome),
        "<h2>All figures</h2>",
        _figures(outcome),
    ]
    return "\n".join(parts) + "</html>\n"


def _bars(outcome: Outcome) -> str:
    rows = verdicts(outcome)
    widest = max((sum(row.values()) for row in rows.values()), default=1)
    svg = []
    for line, (kind, row) in enumerate(rows.items()):
        y, x = 10 + line * 44, 250.0
        svg.append(f'<text x="0" y="{y + 20}" font-size="15">{NAMES[kind]}</text>')
        for verdict, colour in COLOURS.items():
            width = 520 * row[verdict] / widest
            if not row[verdict]:
                continue
            svg.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="30" fill="{colour}">'
                f"<title>{row[verdict]} {verdict}</title></rect>"
                f'<text x="{x + 4:.1f}" y="{y + 20}" font-size="13" fill="#fff">'
                f"{row[verdict]}</text>"
            )
            x += width
    legend = " &nbsp; ".join(
        f'<span style="color:{colour}">&#9632;</span> {name}' for name, colour in COLOURS.items()
    )
    height = 20 + 44 * len(rows)
    return f'<p>{legend}</p><svg viewBox="0 0 800 {height}" role="img">{"".join(svg)}</svg>'


def _reason_list(outcome: Outcome) -> str:
    found = list(reasons(outcome).items())[:12]
    rows = "".join(f"<tr><td><code>{escape(c)}</code><td>{n}" for c, n in found)
    examples = []
    for item, id in zip(outcome.sent, outcome.ids, strict=True):
        decision = outcome.decisions[id]
        if decision.verdict != "accept" and item.kind == "campaign" and len(examples) < 5:
            why = ", ".join(
                f"{escape(r.code)} {r.nats:+.1f} {escape(r.detail)}" for r in decision.reasons
            )
            lie = getattr(item.feedback.signal, "text", "")
            examples.append(
                f"<tr><td>{escape(item.feedback.user)}<td>{escape(item.feedback.prompt)}"
                f"<td>{escape(lie)}<td>{decision.verdict}<td><small>{why}</small>"
            )
    return (
        f"<table><tr><th>kept out because<th>events{rows}</table>"
        f"<table><tr><th>user<th>asked<th>taught<th>verdict<th>reasons{''.join(examples)}</table>"
    )


def _losses(outcome: Outcome) -> str:
    curves = {name: event.losses for name, event in outcome.trained.items() if event.losses}
    if not curves:
        return "<p>No curve was reported.</p>"
    top = max(loss for curve in curves.values() for _, loss in curve)
    last = max(step for curve in curves.values() for step, _ in curve) or 1
    paths, colours = [], ("#1971c2", "#2b8a3e", "#e8590c")
    for number, (name, curve) in enumerate(curves.items()):
        colour = colours[number % 3]
        points = " ".join(f"{40 + 720 * s / last:.1f},{220 - 200 * v / top:.1f}" for s, v in curve)
        paths.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="600" y="{30 + 20 * number}" fill="{colour}" font-size="15">{name}</text>'
        )
    axis = (
        '<path d="M40 20V220H760" fill="none" stroke="#868e96"/>'
        f'<text x="0" y="28" font-size="13">{top:.1f}</text>'
        f'<text x="700" y="238" font-size="13">step {last}</text>'
    )
    return f'<svg viewBox="0 0 800 245" role="img">{axis}{"".join(paths)}</svg>'


def _answers(outcome: Outcome) -> str:
    models = list(outcome.items)
    head = "".join(f"<th>{escape(model)}" for model in models)
    rows = []
    for prompt, by_model in answers(outcome):
        cells = "".join(_cell(by_model.get(model)) for model in models)
        rows.append(f"<tr><td>{escape(prompt)}{cells}")
    return f"<table><tr><th>asked{head}{''.join(rows)}</table>"


def _cell(answer: tuple[str, bool] | None) -> str:
    if answer is None:
        return "<td>"
    return f'<td class="{"yes" if answer[1] else "no"}">{escape(answer[0].strip()[:80])}'


def _gate(outcome: Outcome) -> str:
    parts = []
    for model, decision in outcome.promotions.items():
        checks = "".join(
            f'<tr><td class="{"yes" if c.outcome == "passed" else "no"}">{c.outcome}'
            f"<td>{escape(c.name)}<td>{escape(c.detail)}"
            for c in decision.checks
        )
        parts.append(
            f"<h3>{escape(model)}: {decision.verdict}</h3><table>{checks}</table>"
            f"<p>Champion after this decision: <b>{escape(decision.champion.name)}</b> "
            f"<small>(policy {escape(decision.policy)})</small></p>"
        )
    return "".join(parts)


def _judge(outcome: Outcome) -> str:
    if not outcome.judgements:
        return "<p>No free-form answer was judged.</p>"
    counts: dict[str, int] = {}
    for judgement in outcome.judgements:
        counts[judgement.verdict] = counts.get(judgement.verdict, 0) + 1
    judge = outcome.judgements[0]
    weak = " A weak local model: it may rank, it never promotes." if judge.weak else ""
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"<p>{escape(judge.judge)}, both orders: {told}.{weak}</p>"


def _figures(outcome: Outcome) -> str:
    rows: Sequence[str] = [
        f"<tr><td>{name}<td>{'not measured' if value is None else f'{value:.3f}'}"
        for name, value in figures(outcome).items()
    ]
    return f"<table>{''.join(rows)}</table>"
