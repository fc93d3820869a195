"""A comparison as an SVG drawing: bars of the weighted parts, and how often each model wins."""

from __future__ import annotations

from xml.sax.saxutils import escape

from imece.selection.core import Comparison, Ranked

_COLOURS = ("#3b6ea5", "#d98032", "#5a9a5a", "#b5524f", "#8069a8", "#8c6d4f", "#c77cb0", "#777")
_LEFT, _WIDTH, _ROW, _TOP = 190, 420, 24, 70


def svg(comparison: Comparison, most: int = 15) -> str:
    """Return the drawing of the first `most` places."""
    rows = comparison.ranked[:most]
    names = [name for name, weight in comparison.use_case.weights.items() if weight > 0]
    height = _TOP + _ROW * len(rows) + 20 * (len(comparison.turns) + 1) + 20
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="860" height="{height}" fill="white"/>',
        f'<text x="10" y="22" font-size="15">{escape(comparison.use_case.name)}</text>',
        *_legend(names),
    ]
    for at, each in enumerate(rows):
        drawn += _bar(each, _TOP + at * _ROW, names, comparison)
    below = _TOP + _ROW * len(rows) + 16
    for at, turn in enumerate((_verdict(comparison), *comparison.turns)):
        drawn.append(f'<text x="10" y="{below + 20 * at}">{escape(turn)}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _legend(names: list[str]) -> list[str]:
    drawn = []
    for at, name in enumerate(names):
        x, colour = 10 + at * 105, _COLOURS[at % len(_COLOURS)]
        drawn.append(f'<rect x="{x}" y="36" width="10" height="10" fill="{colour}"/>')
        drawn.append(f'<text x="{x + 14}" y="45">{escape(name)}</text>')
    return drawn


def _bar(each: Ranked, y: int, names: list[str], comparison: Comparison) -> list[str]:
    total = sum(comparison.use_case.weights[name] for name in names)
    mark = " ●" if each.pareto else ""
    drawn = [f'<text x="10" y="{y + 13}">{escape(each.model.name + mark)}</text>']
    x = float(_LEFT)
    for at, name in enumerate(names):
        share = (each.parts[name] or 0.0) * comparison.use_case.weights[name] / total
        colour = _COLOURS[at % len(_COLOURS)]
        width = share * _WIDTH
        drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>')
        x += width
    unknown = [name for name in names if each.parts[name] is None]
    note = f"{each.score:.2f}, first in {each.wins:.0%} of draws"
    if unknown:
        note += f", unknown: {', '.join(unknown)}"
    return [*drawn, f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 13}">{escape(note)}</text>']


def _verdict(comparison: Comparison) -> str:
    marked = "● nothing that fits is known to be better everywhere. "
    if comparison.winner:
        return f"{marked}Clear winner: {comparison.winner}."
    return f"{marked}No clear winner: the first place holds in less than 80 % of the draws."
