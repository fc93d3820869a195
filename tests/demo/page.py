"""The demo's report as one HTML page that needs nothing from outside."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path

from imece.events import Check, FeedbackDecided
from tests.demo import charts
from tests.demo.figures import answers, figures, reasons, verdicts
from tests.demo.story import Outcome
from tests.demo.users import Kind

NAMES: dict[Kind, str] = {
    "honest": "honest thumbs and ratings",
    "true-correction": "true corrections",
    "farming": "campaign, farming trust",
    "campaign": "campaign, teaching lies",
}
MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?"}
STYLE = Path(__file__).with_name("page.css")


def page(outcome: Outcome) -> str:
    """Return the whole report."""
    sections = [
        ("Who sent what, and what the guard decided", _guard(outcome)),
        ("Training loss", _losses(outcome)),
        ("Answers before and after", _answers(outcome)),
        ("The gate", _gate(outcome)),
        ("Judge", _judge(outcome)),
        ("All figures", _figures(outcome)),
    ]
    body = "".join(f"<section><h2>{title}</h2>{text}</section>" for title, text in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>imece demo report</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><h1>imece: what happened in this run</h1><p>{len(outcome.sent)} feedback events "
        f"went through Kafka; the loop took {outcome.seconds:.0f} s. Every number below was "
        f"measured in this run.</p>{_cards(outcome)}{body}</body></html>\n"
    )


def _cards(outcome: Outcome) -> str:
    found = figures(outcome)
    champions = [decision.champion.name for decision in outcome.promotions.values()]
    cards = [
        (_percent(found["demo.guarded_probes"]), "of the attacked facts right, with the guard"),
        (_percent(found["demo.unguarded_probes"]), "without it"),
        (_percent(found["demo.campaign_kept_out"]), "of the campaign's lies kept out"),
        (_percent(found["demo.honest_rejected"]), "of honest feedback rejected"),
        (escape(champions[-1]) if champions else "–", "is the champion now"),
    ]
    return (
        '<div class="cards">'
        + "".join(f"<div><b>{value}</b>{text}</div>" for value, text in cards)
        + "</div>"
    )


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.0%}"


def _guard(outcome: Outcome) -> str:
    table = verdicts(outcome)
    rows = {NAMES[kind]: table[kind] for kind in NAMES if kind in table}
    counts = list(reasons(outcome).items())[:12]
    why = "".join(f"<tr><td><code>{escape(code)}</code><td class=n>{n}" for code, n in counts)
    examples = "".join(_example(*each) for each in _lies(outcome)[:5])
    return (
        f"{charts.bars(rows)}<h3>Why feedback was kept out</h3>"
        f"<table class=narrow><tr><th>reason<th class=n>events{why}</table>"
        "<h3>Some of the lies</h3>"
        f"<table><tr><th>user<th>asked<th>taught<th>verdict<th>reasons, in nats{examples}</table>"
    )


def _lies(outcome: Outcome) -> list[tuple[str, str, str, FeedbackDecided]]:
    """Return one refused lie of each question: user, question, what it taught, decision."""
    found: dict[str, tuple[str, str, str, FeedbackDecided]] = {}
    for item, id in zip(outcome.sent, outcome.ids, strict=True):
        decision, feedback = outcome.decisions[id], item.feedback
        if item.kind == "campaign" and decision.verdict != "accept":
            taught = getattr(feedback.signal, "text", "")
            one = (feedback.user, feedback.prompt, taught, decision)
            found.setdefault(feedback.prompt, one)
    return list(found.values())


def _example(user: str, prompt: str, taught: str, decision: FeedbackDecided) -> str:
    why = "<br>".join(
        f"<code>{escape(reason.code)}</code> {reason.nats:+.1f} {escape(reason.detail)}".strip()
        for reason in decision.reasons
    )
    badge = f'<span class="badge {decision.verdict}">{decision.verdict}</span>'
    return (
        f"<tr><td>{escape(user)}<td>{escape(prompt)}<td>{escape(taught)}<td>{badge}"
        f"<td><small>{why}</small>"
    )


def _losses(outcome: Outcome) -> str:
    return charts.curves({n: event.losses for n, event in outcome.trained.items() if event.losses})


def _answers(outcome: Outcome) -> str:
    models = list(outcome.items)
    found = answers(outcome)
    rows = "".join(
        f"<tr><td>{escape(prompt)}{''.join(_cell(by_model.get(model)) for model in models)}"
        for prompt, by_model in found
    )
    right = {
        model: sum(1 for _, by_model in found if by_model.get(model, ("", False))[1])
        for model in models
    }
    head = "".join(f"<th>{escape(m)} <small>{right[m]}/{len(found)}</small>" for m in models)
    return f'<table class="answers"><tr><th>asked{head}{rows}</table>'


def _cell(answer: tuple[str, bool] | None) -> str:
    if answer is None:
        return "<td>"
    text, right = answer[0].strip(), answer[1]
    short = text if len(text) <= 80 else f"{text[:79]}…"
    mark = f'<span class="{"passed" if right else "failed"}">{"✓" if right else "✗"}</span>'
    return f"<td>{mark} {escape(short)}"


def _gate(outcome: Outcome) -> str:
    parts = []
    for model, decision in outcome.promotions.items():
        checks = "".join(_check(check) for check in decision.checks)
        parts.append(
            f'<h3>{escape(model)} <span class="badge {decision.verdict}">{decision.verdict}</span>'
            f"</h3><table>{checks}</table>"
            f"<p>Champion after this decision: <b>{escape(decision.champion.name)}</b> "
            f"<small>(policy {escape(decision.policy)})</small></p>"
        )
    return "".join(parts) or "<p>The gate decided nothing in this run.</p>"


def _check(check: Check) -> str:
    return (
        f'<tr><td class="{check.outcome} mark">{MARKS[check.outcome]} {check.outcome}'
        f"<td><code>{escape(check.name)}</code><td>{escape(check.detail)}"
    )


def _judge(outcome: Outcome) -> str:
    if not outcome.judgements:
        return "<p>No free-form answer was judged.</p>"
    counts = Counter(judgement.verdict for judgement in outcome.judgements)
    judge = outcome.judgements[0]
    weak = " A weak local model: it may rank, it never promotes." if judge.weak else ""
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"<p>{escape(judge.judge)}, both orders: {told}.{weak}</p>"


def _figures(outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>"
        f"<td class=n>{'not measured' if value is None else f'{value:.3f}'}"
        for name, value in figures(outcome).items()
    )
    return f"<table class=narrow>{rows}</table>"
