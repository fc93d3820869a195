"""Pictures of a run, as small SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.guarding import measures
from tests.bench.guarding.attacks_more import HELD_OUT
from tests.bench.guarding.content import Scan
from tests.bench.guarding.measures import Tally

OURS, RIVAL, GOOD = "#1b6ca8", "#b34a2f", "#3c8d5a"
Driven = Mapping[str, Sequence[Tally]]


def draw(folder: Path, driven: Driven, scan: Scan, rivals: Mapping[str, float]) -> list[str]:
    """Write all pictures; needs matplotlib. Returns their names."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "imece", "axes.grid": True}
    )
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "guard-attacks.svg": lambda axes: _attacks(axes, driven, rivals),
        "guard-mass.svg": lambda axes: _mass(axes, driven),
        "guard-time.svg": lambda axes: _time(axes, driven),
        "guard-roc.svg": lambda axes: _roc(axes, scan),
    }
    for name, part in parts.items():
        figure, axes = pyplot.subplots(figsize=(6, 2.8), layout="constrained")
        part(axes)
        figure.savefig(folder / name, metadata={"Date": None})
        pyplot.close(figure)
    return list(parts)


def _attacks(axes: Any, driven: Driven, rivals: Mapping[str, float]) -> None:
    names = list(driven)
    ours = [measures.over_seeds([run.poison_accepted for run in driven[n]]) for n in names]
    colours = [GOOD if name in HELD_OUT else OURS for name in names]
    axes.bar(names, [found.value for found in ours], color=colours, width=0.7)
    known = [name for name in names if name in rivals]
    axes.plot(known, [rivals[name] for name in known], "_", color=RIVAL, markersize=9)
    axes.set(ylim=(0, 1.02), ylabel="poison believed")
    axes.set_title("blue: development, green: held out, red: one-coin Dawid-Skene", fontsize=8)
    axes.tick_params(axis="x", rotation=90)


def _mass(axes: Any, driven: Driven) -> None:
    """Rows that are still in at the end, by when they got in, of the worst attacks."""
    worst = sorted(driven, key=lambda name: sum(r.poison_rows for r in driven[name]))[-6:]
    for name in sorted({*worst, "a9"}):
        at = sorted(hour for run in driven[name] for hour in run.rows_at)
        mean = [n / len(driven[name]) for n in range(1, len(at) + 1)]
        axes.step([0, *at, 72], [0, *mean, mean[-1] if mean else 0], where="post", label=name)
    axes.set(xlabel="hours of the stream", ylabel="poison rows let in, mean of seeds")
    axes.legend(ncols=2, fontsize=7)


def _time(axes: Any, driven: Driven) -> None:
    """How long after it was sent a true correction, and poison of all attacks, is believed."""
    runs = [run for of in driven.values() for run in of]
    groups = (
        ("true corrections", [r.believed_after for r in runs], [r.corrections for r in runs], GOOD),
        ("poison", [r.fooled_after for r in runs], [r.poison for r in runs], RIVAL),
    )
    for label, waits, totals, colour in groups:
        after = sorted(hours for each in waits for hours in each)
        shares = [n / max(1, sum(totals)) for n in range(1, len(after) + 1)]
        last = shares[-1] if shares else 0.0
        axes.step([0, *after, 24], [0, *shares, last], where="post", label=label, color=colour)
    axes.set(
        xlabel="hours since it was sent", ylabel="share believed", xlim=(0, 24), ylim=(0, 1.02)
    )
    axes.legend()


def _roc(axes: Any, scan: Scan) -> None:
    if scan.linear_points:
        label = "scikit-learn, half of the data"
        axes.plot(*zip(*scan.linear_points, strict=True), color=RIVAL, label=label)
    axes.plot(*zip(*scan.points, strict=True), color=OURS, label="the guard's scan")
    wrong, found = scan.ordinary(), scan.orders()
    axes.plot(sum(wrong) / len(wrong), sum(found) / len(found), "o", color=OURS)
    axes.set(xlim=(0, 0.1), ylim=(0, 1.02), xlabel="false positives", ylabel="injections found")
    axes.legend()
