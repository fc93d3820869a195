"""Rows J7 and J9: 2,000 judgements over a socket that fails in every way endpoints fail."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imece.events import Envelope, JudgementCompleted, JudgementRequested
from imece.runtime.database import Database
from services.llm_judge import store
from services.llm_judge.cascade import Cascade, Stage
from services.llm_judge.endpoint import Endpoint
from services.llm_judge.routes import Judging
from tests.bench.judging import naive
from tests.bench.judging.stub import RIGHT
from tests.bench.results import Row

LATENCY_MS, CONCURRENCY, CALLS = 200, 100, 64
TIMEOUT, DEADLINE, PATIENCE = 3.0, 12.0, 600.0
PATIENTLY = 500.0
"""Seconds after which a run that has not ended is given up, and its rest counts as lost."""


@dataclass
class Run:
    """What one run came to."""

    seconds: float
    paused: float
    events: list[Envelope[JudgementCompleted]]
    stub: dict[str, int]


def rows(quick: bool) -> list[Row]:
    """Return J7 and J9; a quick run makes as many judgements, but of half the latency."""
    latency = LATENCY_MS / 2 if quick else LATENCY_MS
    asked = requests(2000)
    with tempfile.TemporaryDirectory() as folder, stub(latency, "sound") as url:
        clean = asyncio.run(judge(url, Path(folder), asked))
    with tempfile.TemporaryDirectory() as folder, stub(latency, "faulty") as url:
        hurt = asyncio.run(judge(url, Path(folder), asked, twice=True))
        before = hurt.stub["calls"]
        again = asyncio.run(judge(url, Path(folder), requests(2000, "again"), known_only=hurt))
    with stub(latency, "faulty") as url:
        usual = asyncio.run(naive.failed(url, asked, CALLS, TIMEOUT))
    return [*_seven(clean, hurt, latency, usual), _nine(again, before)]


def requests(count: int, evaluation: str = "first") -> list[Envelope[JudgementRequested]]:
    """Return judgements whose right verdict is a and b in turn."""
    moment = datetime(2026, 5, 4, tzinfo=UTC)
    found = []
    for number in range(count):
        answers = [f"{RIGHT} {number}", f"no {number}"]
        first, second = answers if number % 2 == 0 else reversed(answers)
        asked = JudgementRequested(
            item=f"i{number}",
            evaluation=evaluation,
            prompt=f"Question {number}?",
            answer_a=first,
            answer_b=second,
        )
        found.append(Envelope(asked, f"{evaluation}-{number}", "bench", moment))
    return found


@contextmanager
def stub(latency: float, kind: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.judging.stub", str(latency), kind]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)


async def judge(
    url: str,
    folder: Path,
    asked: list[Envelope[JudgementRequested]],
    *,
    twice: bool = False,
    known_only: Run | None = None,
) -> Run:
    """Judge `asked` as the service does; `known_only` leaves out what had no verdict then."""
    if known_only is not None:
        scored = {e.data.item for e in known_only.events if e.data.verdict != "unscored"}
        asked = [each for each in asked if each.data.item in scored]
    told: list[Envelope[JudgementCompleted]] = []

    async def publish(*events: Envelope[Any]) -> None:
        told.extend(each for each in events if isinstance(each.data, JudgementCompleted))

    database = Database(f"sqlite:///{folder / 'judge.db'}", store.METADATA, "llm-judge")
    endpoint = Endpoint(
        f"{url}/v1",
        "stub",
        api_key="x",
        timeout_seconds=TIMEOUT,
        deadline_seconds=DEADLINE,
        max_tokens=50,
        most_calls=CALLS,
    )
    async with database:
        judging = Judging(
            database,
            publish,
            lambda: Cascade((Stage((endpoint,)),)),
            concurrency=CONCURRENCY,
            lease_seconds=120,
            poll_seconds=0.2,
            patience_seconds=PATIENCE,
            batch=100,
        )
        began = time.monotonic()
        await judging.on_requests(asked)
        if twice:
            await judging.on_requests(asked[::10])
        stop = asyncio.Event()
        working = asyncio.create_task(judging.run(stop))
        while len(told) < len(asked) and time.monotonic() - began < PATIENTLY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        if twice:
            stop.set()
            await working
            await judging.drain()
        stop.set()
        await working
    await endpoint.close()
    counts = await asyncio.to_thread(_counts, url)
    return Run(seconds, endpoint.line.limiter.paused_seconds, told, counts)


def _counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/counts", timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def _seven(clean: Run, hurt: Run, latency: float, usual: int) -> list[Row]:
    verdicts = {event.id: event.data for event in hurt.events}
    told = Counter(event.data.item for event in hurt.events)
    lost = 2000 - len(told)
    double = sum(count - 1 for count in told.values())
    wrong = sum(_wrong(each) for each in verdicts.values())
    reasons = Counter(
        each.reason.partition(":")[0] for each in verdicts.values() if each.verdict == "unscored"
    )
    scored = len(verdicts) - reasons.total()
    slower = hurt.seconds / (1.3 * clean.seconds + hurt.paused + 1)
    faults = {name: n for name, n in hurt.stub.items() if name not in ("right", "calls")}
    holds = lost == double == wrong == 0
    note = f"attempted 2000 = scored {scored} + unscored {dict(reasons)}; faults {faults}"
    return [
        Row("J7", float(lost + double + wrong), "judgements", "0", holds, note=note),
        Row("J7.lost", float(lost), "judgements", "0", lost == 0),
        Row("J7.double", float(double), "judgements", "0", double == 0),
        Row(
            "J7.failed_as_zero",
            float(wrong),
            "judgements",
            "0",
            wrong == 0,
            None,
            {"the SDK's retries, one order": float(usual)},
        ),
        Row(
            "J7.time",
            slower,
            "x allowed",
            "<= 1",
            slower <= 1,
            None,
            {"fault-free s": clean.seconds, "faulty s": hurt.seconds, "paused s": hurt.paused},
            f"allowed: 1.3 x fault-free + Retry-After (1 s, and pauses); latency {latency:.0f} ms",
        ),
    ]


def _wrong(verdict: JudgementCompleted) -> bool:
    right = "a" if int(verdict.item[1:]) % 2 == 0 else "b"
    return verdict.verdict not in ("unscored", right)


def _nine(again: Run, before: int) -> Row:
    calls = again.stub["calls"] - before
    note = f"{len(again.events)} judgements again, under another evaluation"
    right = bool(again.events) and not any(_wrong(event.data) for event in again.events)
    return Row("J9", float(calls), "calls", "0", calls == 0 and right, None, {}, note)
