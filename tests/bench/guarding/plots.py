"""Pictures of a run, as small SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.guarding import measures
from tests.bench.guarding.attacks_more import HELD_OUT
from tests.bench.guarding.content import Scan
from tests.bench.guarding.driving import Course, Drive
from tests.bench.guarding.stream import BEGIN

OURS, RIVAL, GOOD = "#1b6ca8", "#b34a2f", "#3c8d5a"
Driven = Mapping[str, Sequence[Drive]]


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
        "guard-time.svg": lambda axes: _time(axes, driven["a3"]),
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
    ours = [measures.over_seeds([measures.poison_accepted(r) for r in driven[n]]) for n in names]
    colours = [GOOD if name in HELD_OUT else OURS for name in names]
    axes.bar(names, [found.value for found in ours], color=colours, width=0.7)
    known = [name for name in names if name in rivals]
    axes.plot(known, [rivals[name] for name in known], "_", color=RIVAL, markersize=9)
    axes.set(ylim=(0, 1.02), ylabel="poison believed")
    axes.set_title("blue: development, green: held out, red: one-coin Dawid-Skene", fontsize=8)
    axes.tick_params(axis="x", rotation=90)


def _mass(axes: Any, driven: Driven) -> None:
    for name in ("a1", "a4", "a6", "a9.adaptive", "a11.adaptive", "a12.adaptive"):
        run = driven[name][0]
        rows = sorted(_hours(c, "accept") for c in measures.poison(run) if c.row)
        axes.step([0, *rows, 72], [0, *range(1, len(rows) + 1), len(rows)], label=name)
    axes.set(xlabel="hours of the stream", ylabel="poison rows let in")
    axes.legend(ncols=2, fontsize=7)


def _hours(course: Course, verdict: str) -> float:
    """Return when the verdict first came, in hours of the stream."""
    when = next(at for at, decision in course.decisions if decision.verdict == verdict)
    return (when - BEGIN).total_seconds() / 3600


def _time(axes: Any, runs: Sequence[Drive]) -> None:
    """How long after it was sent a true correction, and poison, is believed."""
    groups = (
        ("true corrections", measures.true_corrections, GOOD),
        ("poison", measures.poison, RIVAL),
    )
    for label, pick, colour in groups:
        every = [course for run in runs for course in pick(run)]
        waits = sorted(
            _hours(c, "accept") - (c.sent.event.time - BEGIN).total_seconds() / 3600
            for c in every
            if c.accepted
        )
        shares = [n / len(every) for n in range(1, len(waits) + 1)]
        last = shares[-1] if shares else 0.0
        axes.step([0, *waits, 24], [0, *shares, last], where="post", label=label, color=colour)
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
