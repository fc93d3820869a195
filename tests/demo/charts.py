"""Pictures of the demo's report as SVG, without any library or outside resource."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median

VERDICTS = ("accept", "quarantine", "reject")
COLOURS = ("#1971c2", "#2f9e44", "#e8590c", "#7048e8")
Curve = Sequence[tuple[int, float]]


def bars(rows: Mapping[str, Mapping[str, int]]) -> str:
    """Draw one stacked bar of verdicts for each name."""
    widest = max((sum(row.values()) for row in rows.values()), default=0) or 1
    parts = []
    for line, (name, row) in enumerate(rows.items()):
        y, x = 8 + line * 46, 220.0
        parts.append(f'<text x="208" y="{y + 21}" text-anchor="end">{escape(name)}</text>')
        for verdict in VERDICTS:
            if not row.get(verdict):
                continue
            width = 540 * row[verdict] / widest
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width - 1:.1f}" height="32" rx="3" '
                f'class="{verdict}"><title>{row[verdict]} {verdict}</title></rect>'
            )
            if width > 22:
                parts.append(
                    f'<text x="{x + width / 2:.1f}" y="{y + 21}" text-anchor="middle" '
                    f'class="on">{row[verdict]}</text>'
                )
            x += width
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 21}" class="dim">{sum(row.values())}</text>')
    legend = "".join(f'<span class="key {verdict}"></span>{verdict}' for verdict in VERDICTS)
    height = 12 + 46 * len(rows)
    picture = f'<svg viewBox="0 0 820 {height}" role="img">{"".join(parts)}</svg>'
    return f'<p class="legend">{legend}</p>{picture}'


def curves(found: Mapping[str, Curve]) -> str:
    """Draw losses over steps: each one faintly, and its running median strongly."""
    points = [point for curve in found.values() for point in curve]
    if not points:
        return "<p>No curve was reported.</p>"
    last = max(step for step, _ in points) or 1
    top = _ceiling(max(loss for _, loss in points))
    parts = [_grid(top, last)]
    for number, curve in enumerate(found.values()):
        colour = COLOURS[number % len(COLOURS)]
        raw, smooth = _line(curve, top, last), _line(_smooth(curve), top, last)
        parts.append(
            f'<polyline points="{raw}" stroke="{colour}" stroke-width="1" opacity=".35"/>'
            f'<polyline points="{smooth}" stroke="{colour}" stroke-width="2.5"/>'
        )
    legend = "".join(
        f'<span class="key" style="background:{COLOURS[number % len(COLOURS)]}"></span>'
        f"{escape(name)}"
        for number, name in enumerate(found)
    )
    picture = f'<svg viewBox="0 0 820 290" role="img" class="curves">{"".join(parts)}</svg>'
    told = "<small>thin: as reported, thick: running median</small>"
    return f'<p class="legend">{legend}{told}</p>{picture}'


def _ceiling(value: float) -> float:
    """Return the next round number above `value`."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(
        step * scale for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * scale >= value
    )


def _grid(top: float, last: int) -> str:
    parts = []
    for part in range(5):
        y, value = 245 - 230 * part / 4, f"{top * part / 4:.2g}"
        parts.append(
            f'<path d="M50 {y:.1f}H800" class="grid"/>'
            f'<text x="42" y="{y + 4:.1f}" text-anchor="end" class="dim">{value}</text>'
        )
    for part in range(5):
        x, step = 50 + 750 * part / 4, round(last * part / 4)
        parts.append(f'<text x="{x:.0f}" y="264" text-anchor="middle" class="dim">{step}</text>')
    parts.append('<text x="425" y="284" text-anchor="middle" class="dim">step</text>')
    return "".join(parts)


def _line(curve: Curve, top: float, last: int) -> str:
    return " ".join(f"{50 + 750 * s / last:.1f},{245 - 230 * v / top:.1f}" for s, v in curve)


def _smooth(curve: Curve, width: int = 2) -> Curve:
    values = [loss for _, loss in curve]
    return [
        (step, median(values[max(0, at - width) : at + width + 1]))
        for at, (step, _) in enumerate(curve)
    ]
