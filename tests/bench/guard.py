"""`python -m tests.bench.guard [--quick] --json F`: the guard against attacks, with baselines.

The data folder is `IMECE_BENCH_DATA` (default `../shared/data`); without it every row says so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.bench.guarding import content, material, plots, report, runs, speed, table
from tests.bench.guarding.driving import Drive
from tests.bench.guarding.runs import Bench, Job, Setting
from tests.bench.results import Result, Row

QUICK = Setting(events=600, seeds=2, real_items=150)
FULL = Setting(events=2_000, seeds=5, real_items=500)
_SOME = (("a3", "a9"), {0.01: (1, 100)})
_GRID = (table.BASELINED, {0.001: (1,), 0.01: (1, 10, 100), 0.05: (1, 100, 1000)})
CACHE = Path(os.environ.get("IMECE_CACHE", Path.home() / ".cache" / "imece"))
NAMED = (
    *("sybil_accepted", "sybil10_accepted", "honest_now", "honest_24h", "honest_rejected"),
    *("backdoor_recall", "backdoor_fpr", "backdoor_rows", "injection_recall", "judge_flips"),
    *("elicited_accepted", "takeover_rows", "drip_rows", "revoke_s", "suppressed"),
    *("downstream_asr_delta", "downstream_clean_delta", "events_per_s_core"),
    *("kafka_events_per_s", "decision_p95_s", "cost_growth"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guard", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=Path, help="write guard-benchmark.md and img/ there")
    parser.add_argument("--quick", action="store_true", help="small streams, two seeds")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of the baselines' libraries
    console = Console()
    began = time.monotonic()
    try:
        read = material.load(folder())
    except FileNotFoundError as error:
        note = f"data missing: {error.filename}; set IMECE_BENCH_DATA"
        rows, driven = [Row(f"guard.{name}", None, "", note=note) for name in NAMED], {}
    else:
        bench = Bench(read, runs.policy(), QUICK if arguments.quick else FULL)
        driven = attacked(bench)
        rows = measure(bench, driven, arguments.quick)
        bench.workers.shutdown()
    seconds = time.monotonic() - began
    Result("guard", seconds, arguments.quick, tuple(rows)).write(arguments.json, console)
    if arguments.docs is not None and driven:
        write_docs(arguments.docs, bench, rows, driven, seconds, arguments.quick)


def attacked(bench: Bench) -> dict[str, list[Drive]]:
    """Drive every attack in both forms through the guard."""
    seeds = range(bench.setting.seeds)
    found = iter(bench.all([Job(form, seed) for form in table.FORMS for seed in seeds]))
    return {form: [next(found) for _ in seeds] for form in table.FORMS}


def write_docs(
    docs: Path,
    bench: Bench,
    rows: Sequence[Row],
    driven: Mapping[str, Sequence[Drive]],
    seconds: float,
    quick: bool,
) -> None:
    """Write the document and its pictures."""
    found = scanned(bench, quick)
    rivals = {
        r.id.split(".", 1)[1].removesuffix(".dawid_skene"): r.value
        for r in rows
        if r.id.endswith(".dawid_skene") and r.value is not None
    }
    pictures = plots.draw(docs / "img", driven, found, rivals)
    events = bench.setting.events
    text = report.document(rows, seconds, quick=quick, events=events, pictures=pictures)
    (docs / "guard-benchmark.md").write_text(text, encoding="utf-8")


def measure(bench: Bench, driven: Mapping[str, Sequence[Drive]], quick: bool) -> list[Row]:
    """Compute all rows; a part that cannot run gives rows that say why."""
    some = table.BASELINED if quick else table.FORMS
    parts: list[Callable[[], list[Row]]] = [
        lambda: table.sybils(bench),
        lambda: table.honest(bench, driven["a3"]),
        lambda: table.special(bench, driven),
        lambda: content.rows(scanned(bench, quick)),
        lambda: timed(bench, quick),
        lambda: table.attack_rows(bench, driven),
        lambda: table.baseline_rows(bench, some),
        lambda: table.ablation_rows(bench, table.ABLATED if quick else table.BASELINED),
        lambda: table.grid_rows(bench, *(_SOME if quick else _GRID)),
        lambda: [] if quick else trained(bench),
        lambda: not_measured(quick),
    ]
    return [row for part in parts for row in part()]


def scanned(bench: Bench, quick: bool) -> content.Scan:
    """Injection scan, cross-validated; computed once."""
    return content.scan(folder(), bench.policy.thresholds.injection, 2 if quick else 5)


def folder() -> Path:
    return Path(os.environ.get("IMECE_BENCH_DATA", "../shared/data"))


def timed(bench: Bench, quick: bool) -> list[Row]:
    """Speed here and through a real broker."""
    size = replace(bench.setting, events=6_000 if quick else 30_000)
    _, calm = Bench(bench.material, bench.policy, size).world(0)
    rate = speed.in_process(calm, bench.policy)
    few, many = (2_000, 40_000) if quick else (10_000, 1_000_000)
    grown = speed.growth(calm, bench.policy, few, many)
    kafka = speed.through_kafka(calm, 10 if quick else 30, CACHE)
    through, p95 = kafka.events_per_second, kafka.p95_seconds
    revoked = speed.revocation(calm, bench.policy, 20_000 if quick else 1_000_000)
    return [
        Row(
            "guard.revoke_s",
            revoked.seconds,
            f"s for {revoked.rows:,} rows among {revoked.events:,} events",
            "<= 60 at 1,000,000",
            None if quick else revoked.seconds <= 60 and revoked.complete,
            note="complete" if revoked.complete else "rows of the user still stand",
        ),
        Row("guard.events_per_s_core", rate, "events/s", ">= 4000", rate >= 4000),
        Row("guard.kafka_events_per_s", through, "events/s", ">= 1500", through >= 1500),
        Row("guard.decision_p95_s", p95, "s", "<= 1 at 200 events/s", p95 <= 1),
        Row(
            "guard.cost_growth",
            grown,
            f"cost at {many:,} users / at {few:,}",
            "<= 1.2",
            grown <= 1.2,
        ),
    ]


def trained(bench: Bench) -> list[Row]:
    """What offered poison does to a trained model; `guarding.downstream` runs this alone."""
    from tests.bench.guarding import downstream  # torch takes seconds to import

    with tempfile.TemporaryDirectory() as folder:
        return downstream.with_bar(bench.material, downstream.FULL, Path(folder), Console())


def not_measured(quick: bool) -> list[Row]:
    """Figures of the issue that this run has no means to compute, with the reason."""
    reasons = {
        "judge_flips": "no judge's endpoint; guard.injections_at_judge says what reaches one",
        "loss_filter": "a base model's loss on every row takes minutes on two cores",
        "judge_only": "no judge's endpoint is configured",
    }
    if quick:
        why = "three models are trained for it; only the full run does"
        reasons |= {"downstream_asr_delta": why, "downstream_clean_delta": why}
    return [Row(f"guard.{name}", None, "", note=why) for name, why in reasons.items()]


if __name__ == "__main__":
    main()
