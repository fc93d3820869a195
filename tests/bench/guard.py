"""`python -m tests.bench.guard [--quick] --json F`: the guard against attacks, with baselines.

The data folder is `IMECE_BENCH_DATA` (default `../shared/data`); without it every row says so.
What is measured is kept beside F as it comes: the same command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.bench.guarding import (
    content,
    flips,
    kept,
    material,
    parts,
    plots,
    report,
    runs,
    table,
    timed,
    wide,
)
from tests.bench.guarding.measures import Tally
from tests.bench.guarding.parts import Part
from tests.bench.guarding.runs import Bench, Job, Setting
from tests.bench.results import Result, Row

QUICK = Setting(events=500, seeds=2, real_items=100, wide=300)
TINY = Setting(events=160, seeds=2, real_items=80, wide=80)
FULL = Setting(events=600, seeds=5, real_items=250, wide=300)
_SOME = (("a3", "a9"), {0.01: (1, 10), 0.05: (1, 100)})
_GRID = (table.FORMS, {0.001: (1,), 0.01: (10,), 0.05: (1, 100)})
"""Ten accounts at 5 % are the attacks' own rows; more accounts than events cannot act."""
_CROWD = ("a3", "a11.adaptive")
CACHE = Path(os.environ.get("IMECE_CACHE", Path.home() / ".cache" / "imece"))
NAMED = (
    *("sybil_accepted", "sybil10_accepted", "honest_now", "honest_24h", "honest_rejected"),
    *("backdoor_recall", "backdoor_fpr", "backdoor_rows", "injection_recall", "judge_flips"),
    *("elicited_accepted", "takeover_rows", "drip_rows", "revoke_s", "suppressed"),
    *("downstream_asr_delta", "downstream_clean_delta", "events_per_s_core"),
    *("kafka_events_per_s", "decision_p95_s", "cost_growth"),
)


def main() -> None:
    every = plan(quick=True)
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guard", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=Path, help="write guard-benchmark.md and img/ there")
    parser.add_argument("--quick", action="store_true", help="small streams, two seeds")
    parser.add_argument("--tiny", action="store_true", help="try it out; no figure of it counts")
    parser.add_argument("--parts", help=f"only these, with commas between: {', '.join(every)}")
    parser.add_argument("--kept", type=Path, help="where results are kept (default: F.kept)")
    arguments = parser.parse_args()
    wanted = arguments.parts.split(",") if arguments.parts else list(every)
    if unknown := set(wanted) - set(every):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    warnings.filterwarnings("ignore")  # of the baselines' libraries
    sys.exit(measure(arguments, wanted))


def measure(arguments: argparse.Namespace, wanted: Sequence[str]) -> int:
    """Measure and write; return 1 when something could not be measured that should have been."""
    console, quick = Console(), arguments.quick or arguments.tiny
    try:
        read = material.load(folder())
    except FileNotFoundError as error:
        note = f"data missing: {error.filename}; set IMECE_BENCH_DATA"
        rows = [Row(f"guard.{name}", None, "", note=note) for name in NAMED]
        Result("guard", 0.0, quick, tuple(rows)).write(arguments.json, console)
        return 1
    setting, policy = TINY if arguments.tiny else QUICK if quick else FULL, runs.policy()
    path = arguments.kept or (arguments.json or CACHE / "guard-bench").with_suffix(".kept")
    store = kept.Kept(path, kept.version(setting, policy))
    bench, whole = Bench(read, policy, setting, store), plan(quick=quick)
    partly = partial(write, arguments.json, quick=quick)
    try:
        rows, seconds = parts.run(whole, wanted, bench, console, partly)
        Result("guard", seconds, quick, tuple(rows)).write(arguments.json, console)
        if arguments.docs is not None:
            write_docs(arguments.docs, bench, rows, seconds, quick)
    finally:
        bench.close()
    failed = any(row.note.startswith(parts.FAILED) for row in rows)
    if not failed and set(wanted) == set(whole):
        store.done()
    return int(failed)


def write(path: Path | None, rows: Sequence[Row], seconds: float, *, quick: bool) -> None:
    """Write what is known so far, without a word."""
    Result("guard", seconds, quick, tuple(rows)).write(path, Console(quiet=True))


def attacked(bench: Bench) -> dict[str, list[Tally]]:
    """Drive every attack in both forms through the guard."""
    seeds = range(bench.setting.seeds)
    found = iter(bench.all([Job(form, seed) for form in table.FORMS for seed in seeds]))
    return {form: [next(found) for _ in seeds] for form in table.FORMS}


def write_docs(docs: Path, bench: Bench, rows: Sequence[Row], seconds: float, quick: bool) -> None:
    """Write the document and its pictures."""
    ending = ".dawid_skene"
    rivals = {
        r.id.split(".", 1)[1].removesuffix(ending): r.value
        for r in rows
        if r.id.endswith(ending) and r.value is not None
    }
    pictures = plots.draw(docs / "img", attacked(bench), scanned(bench, quick), rivals)
    text = report.document(
        rows,
        seconds,
        quick=quick,
        events=bench.setting.events,
        wide=bench.setting.wide,
        pictures=pictures,
    )
    (docs / "guard-benchmark.md").write_text(text, encoding="utf-8")


def plan(*, quick: bool) -> Mapping[str, Part]:
    """Return all parts by name, in the order of the document."""
    some = table.BASELINED if quick else table.FORMS
    sampled = (6, 30) if quick else (10, 60)
    every: dict[str, Part] = {
        "attacks": lambda bench: wide.attack_rows(attacked(bench)),
        "sybils": table.sybils,
        "honest": lambda bench: table.honest(bench, attacked(bench)["a3"]),
        "special": lambda bench: table.special(bench, attacked(bench)),
        "content": lambda bench: content.rows(scanned(bench, quick)),
        "speed": partial(timed.in_process, quick=quick),
        "kafka": partial(timed.through_kafka, quick=quick),
        "growth": partial(timed.grown, quick=quick),
        "revocation": partial(timed.revoked, quick=quick),
        "baselines": lambda bench: wide.baseline_rows(bench, some),
        "loss_filter": lambda bench: wide.weighed_rows(bench, "loss_filter", some, sampled),
        "judge_only": lambda bench: wide.weighed_rows(bench, "judge_only", some, sampled),
        "rftc": lambda bench: wide.door_rows(bench, wide.DOORS[1:3] if quick else wide.DOORS),
        "ablations": lambda b: wide.ablation_rows(b, table.ABLATED if quick else table.FORMS),
        "grid": lambda bench: wide.grid_rows(bench, *(_SOME if quick else _GRID)),
        "crowd": lambda bench: [] if quick else wide.crowd_rows(bench, _CROWD),
        "downstream": lambda bench: timed.untrained() if quick else timed.trained(bench),
        "judge_flips": lambda bench: flips.rows(scanned(bench, quick), folder()),
    }
    return every


def scanned(bench: Bench, quick: bool) -> content.Scan:
    """Injection scan, cross-validated; computed once."""
    return content.scan(folder(), bench.policy.thresholds.injection, 2 if quick else 5)


def folder() -> Path:
    return Path(os.environ.get("IMECE_BENCH_DATA", "../shared/data"))


if __name__ == "__main__":
    main()
