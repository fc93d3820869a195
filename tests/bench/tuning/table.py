"""From measurements to the bench's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.bench.results import Row
from tests.bench.tuning.race import Laps

BARS = {
    ("short", "trainer"): 3.0,
    ("short", "trl"): 5.0,
    ("long", "trainer"): 1.3,
    ("long", "trl"): 1.5,
}
NAMED = (
    *(f"{task}_vs_{rival}" for task, rival in BARS),
    *("loss_gap", "ceiling_share", "service_overhead", "convert_s", "load_s"),
)


def missing(name: str, why: str) -> Row:
    return Row(f"training.{name}", None, "", note=why)


def speedups(task: str, laps: Mapping[str, Laps]) -> list[Row]:
    """Compare the median rows/s of ours with each rival's."""
    return [_speedup(task, rival, laps) for name, rival in BARS if name == task]


def _speedup(task: str, rival: str, laps: Mapping[str, Laps]) -> Row:
    name, bar = f"{task}_vs_{rival}", BARS[task, rival]
    mine, theirs = laps["ours"], laps[rival]
    if why := mine.missing or theirs.missing:
        return missing(name, why)
    value = median(mine.rates) / median(theirs.rates)
    ratios = [a / b for a, b in zip(mine.rates, theirs.rates, strict=True)]
    return Row(
        f"training.{name}",
        value,
        "x rows/s",
        f">= {bar}",
        value >= bar,
        ci=(min(ratios), max(ratios)),
        baselines={"ours": median(mine.rates), rival: median(theirs.rates)},
        note=f"{median(mine.rates):.2f} against {median(theirs.rates):.2f} rows/s,"
        f" {len(ratios)} repeats, from {min(ratios):.2f} to {max(ratios):.2f}",
    )


def loss_gap(losses: Mapping[str, float]) -> Row:
    """Compare the loss that ours ends with to that of the rival which is farthest from it."""
    rivals = {name: value for name, value in losses.items() if name != "ours"}
    if "ours" not in losses or not rivals:
        return missing("loss_gap", "nothing to compare with")
    gap = max(abs(losses["ours"] - value) / value for value in rivals.values())
    told = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
    return Row(
        "training.loss_gap", gap, "share", "<= 0.01", gap <= 0.01, baselines=rivals, note=told
    )


def ceiling_share(shares: Mapping[str, float], most: float) -> Row:
    """Report the lowest share of the ceiling among the tasks."""
    told = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
    value = min(shares.values())
    note = f"{told} of {most / 1e9:.0f} GFLOP/s"
    return Row("training.ceiling_share", value, "share", ">= 0.4", value >= 0.4, note=note)


def service_overhead(
    service: Sequence[float], script: Sequence[float], inside: Sequence[float]
) -> Row:
    """Compare a job with a script that calls the recipe; 2 s of start are free.

    `inside` is how long the recipe itself took in the script, so what it adds is its imports.
    """
    whole, alone = median(service), median(script)
    value = max(0.0, whole - alone - 2) / alone
    return Row(
        "training.service_overhead",
        value,
        "share beyond 2 s",
        "<= 0.02",
        value <= 0.02,
        note=f"job {whole:.1f} s, script {alone:.1f} s, recipe in it {median(inside):.1f} s",
    )


def at_most(name: str, seconds: float, bar: float, note: str) -> Row:
    return Row(f"training.{name}", seconds, "s", f"<= {bar:g}", seconds <= bar, note=note)
