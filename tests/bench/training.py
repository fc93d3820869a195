"""`python -m tests.bench.training [--quick] --json F`: LoRA by our recipe, Trainer and trl.

In one run on one machine: the same rows, tokens, LoRA, seed, steps and number type. The data folder
is `IMECE_BENCH_DATA` (default `../shared/data`); rows that need it say so where it is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest import mock

import torch
from rich.console import Console
from transformers import AutoTokenizer, logging

from imece.errors import UnavailableError
from imece.events import LoraRecipe
from imece.local import gguf_convert, models
from services.adapter import methods
from tests.bench.results import Result, Row
from tests.bench.tuning import ceiling, material, service, table, ways
from tests.bench.tuning.material import Task
from tests.bench.tuning.race import Laps, race

CACHE = Path(os.environ.get("IMECE_CACHE", Path.home() / ".cache" / "imece"))
WAYS = {"ours": ways.ours, "trainer": ways.trainer, "trl": ways.trl}


@dataclass(frozen=True)
class Setting:
    short: int
    long: int
    repeats: int
    long_repeats: int


# What fits some eighteen minutes of two cores, most of which the rivals take.
FULL = Setting(short=160, long=32, repeats=3, long_repeats=1)
QUICK = Setting(short=64, long=32, repeats=1, long_repeats=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few rows, one repeat")
    parser.add_argument("--short", type=int, help="short rows, a multiple of 32")
    parser.add_argument("--long", type=int, help="long rows, a multiple of 32")
    parser.add_argument("--repeats", type=int, help="of the short rows")
    parser.add_argument("--long-repeats", type=int)
    parser.add_argument("--base", type=Path, help="a model folder in place of SmolLM2-135M")
    given = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    began, console = time.monotonic(), Console()
    setting = QUICK if given.quick else FULL
    setting = Setting(
        given.short or setting.short,
        given.long or setting.long,
        given.repeats or setting.repeats,
        given.long_repeats or setting.long_repeats,
    )
    base = given.base or models.resolve(models.DEFAULT_BASE, CACHE).path
    with tempfile.TemporaryDirectory(prefix="imece-training-") as name:
        rows = [*loading(base), *raced(base.resolve(), setting, Path(name))]
    Result("training", time.monotonic() - began, given.quick, tuple(rows)).write(
        given.json, console
    )


def loading(base: Path) -> Iterator[Row]:
    """Convert the GGUF file of the default base once, and load a base that was read before."""
    recipe = LoraRecipe()
    methods.load(base, recipe, "auto")
    times = []
    for _ in range(3):
        began = time.perf_counter()
        methods.load(base, recipe, "auto")
        times.append(time.perf_counter() - began)
    yield table.at_most("load_s", median(times), 1, "median of 3, after one more")
    try:
        yield table.at_most("convert_s", converted(), 3, models.DEFAULT_BASE)
    except UnavailableError as error:
        yield table.missing("convert_s", str(error))


def converted() -> float:
    """Return how long the conversion took within a first use of the default base."""
    seconds: list[float] = []

    def timed(*given: object) -> None:
        began = time.perf_counter()
        convert(*given)  # type: ignore[arg-type]
        seconds.append(time.perf_counter() - began)

    convert = gguf_convert.convert
    with tempfile.TemporaryDirectory() as name, mock.patch.object(models, "convert", timed):
        models.resolve(models.DEFAULT_BASE, Path(name))
    return seconds[0]


def raced(base: Path, setting: Setting, folder: Path) -> list[Row]:
    """Run both tasks all ways; without the data, say so in each row."""
    data = Path(os.environ.get("IMECE_BENCH_DATA", "../shared/data"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    try:
        short, long = material.tasks(data, tokenizer, short=setting.short, long=setting.long)
    except FileNotFoundError as error:
        why = f"data missing: {error.filename}; set IMECE_BENCH_DATA"
        return [table.missing(n, why) for n in table.NAMED if n not in ("load_s", "convert_s")]
    known = ceiling.of(base)
    most = ceiling.measured(known, 4)
    turns = ((short, setting.repeats), (long, setting.long_repeats))
    laps = [(t, race(WAYS, base, t, n, folder, _tell)) for t, n in turns]
    # Once more: a machine that was busy at the start would make the ceiling look low.
    most = max(most, ceiling.measured(known, 4))
    shares = {
        t.name: ceiling.share(known, t, median(found["ours"].rates), most) for t, found in laps
    }
    return [
        *(row for t, found in laps for row in table.speedups(t.name, found)),
        table.loss_gap(_losses(base, short, laps[0][1])),
        table.ceiling_share(shares, most),
        served(base, short, setting.repeats, folder),
    ]


def _tell(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def _losses(base: Path, task: Task, laps: dict[str, Laps]) -> dict[str, float]:
    return {
        name: ways.loss(base, each.adapter, task)
        for name, each in laps.items()
        if each.adapter is not None
    }


def served(base: Path, task: Task, repeats: int, folder: Path) -> Row:
    """Tune as a job of the service and as a script, in turns."""
    job, script, inside = [], [], []
    for repeat in range(repeats):
        _tell(f"service {repeat + 1}/{repeats}")
        job.append(service.as_job(base, task, folder / f"job-{repeat}"))
        whole, alone = service.as_script(base, task, folder / f"script-{repeat}")
        script.append(whole)
        inside.append(alone)
    return table.service_overhead(job, script, inside)


if __name__ == "__main__":
    torch.manual_seed(material.SEED)
    main()
