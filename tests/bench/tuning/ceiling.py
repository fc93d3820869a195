"""How fast this machine multiplies the matrices of a model, and what a task needs of that."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from imece.runtime import causal
from tests.bench.tuning.material import Task

ROWS = 1024
"""Tokens of one multiplication: about what a step on short rows has."""


@dataclass(frozen=True)
class Shapes:
    """(in, out) of each linear module of a model, and how often it occurs."""

    body: Counter[tuple[int, int]]
    head: tuple[int, int]

    def flops(self, tokens: int, learnt: int) -> float:
        """Return what LoRA on a frozen model needs: forward and gradient of the input, 2 each.

        `tokens` go through the body, `learnt` of them through the head. Attention and the
        adapters are left out.
        """
        body = sum(i * o * count for (i, o), count in self.body.items())
        return 4.0 * (body * tokens + self.head[0] * self.head[1] * learnt)


def shapes(model: Any) -> Shapes:
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return Shapes(
        Counter((m.in_features, m.out_features) for m in linear),
        (head.in_features, head.out_features),
    )


def of(base: Path) -> Shapes:
    return shapes(AutoModelForCausalLM.from_pretrained(base))


@torch.no_grad()
def measured(known: Shapes, seconds: float) -> float:
    """Return the most FLOP/s of all linear modules together, forward and input gradient.

    The best of repeats of each shape counts: what the machine can do, not what it did meanwhile.
    """
    counts = known.body + Counter([known.head])
    spent, done = 0.0, 0.0
    for (inside, outside), count in counts.items():
        spent += count * _best(inside, outside, seconds / len(counts))
        done += count * 4.0 * ROWS * inside * outside
    return done / spent


def _best(inside: int, outside: int, seconds: float) -> float:
    place = causal.device()
    number = causal.fast_dtype(place)
    weight = torch.randn(outside, inside, dtype=number, device=place)
    given = torch.randn(ROWS, inside, dtype=number, device=place)
    slope = torch.randn(ROWS, outside, dtype=number, device=place)

    def both() -> None:
        torch.nn.functional.linear(given, weight)
        torch.mm(slope, weight)

    return best_of(both, seconds)


def best_of(work: Callable[[], None], seconds: float) -> float:
    """Return the shortest time of `work`, called for so long but at least three times."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def share(known: Shapes, task: Task, rate: float, most: float) -> float:
    """Return the share of `most` FLOP/s that `rate` rows a second make useful."""
    needed = known.flops(task.needed, task.learnt) / len(task.rows)
    return needed * rate / most
