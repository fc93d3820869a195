"""What is tuned: real questions as short chat rows, maths conversations as long ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imece.events import LoraRecipe
from services.adapter.rows import Example, Row, batches, common_prefix, encode

BATCH = 32
SHORT, LONG = (32, 64), (448, 512)
SEED = 20261124


@dataclass(frozen=True)
class Task:
    """One race: the same rows, steps and seed for all; a batch is read in `split` parts."""

    name: str
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    recipe: LoraRecipe
    split: int = 1

    @property
    def learnt(self) -> int:
        """Tokens that have a loss."""
        return sum(len(example.completion) for example in self.examples)

    @property
    def needed(self) -> int:
        """Tokens that a step has to read: no padding, and what all rows share once a batch."""
        shared = len(common_prefix(self.examples))
        sizes = [example.size for example in self.examples]
        return sum(sizes) - sum(
            shared * (len(batch) - 1) for batch in batches(sizes, self.recipe, skip=0)
        )


def tasks(folder: Path, tokenizer: Any, *, short: int, long: int) -> tuple[Task, Task]:
    """Return the short and the long task. FileNotFoundError where the data is not there."""
    quick = _task("short", tokenizer, _questions(folder, tokenizer), short, split=1)
    # A batch of 32 long rows at once needs more memory than a small machine has.
    return quick, _task("long", tokenizer, _conversations(folder, tokenizer), long, split=4)


def _task(name: str, tokenizer: Any, found: Iterator[Row], count: int, *, split: int) -> Task:
    rows = [row for _, row in zip(range(count), found, strict=False)]
    if len(rows) < count:
        raise ValueError(f"{len(rows)} {name} rows of {count} wanted in the data")
    examples = tuple(unit.examples[0] for unit in encode(tokenizer, rows))
    # Without a warm-up our schedule is the linear one of transformers, to 1 / steps.
    recipe = LoraRecipe(learning_rate=1e-3, warmup=0, batch_size=BATCH, seed=SEED)
    return Task(name, tuple(rows), examples, recipe, split)


def _questions(folder: Path, tokenizer: Any) -> Iterator[Row]:
    for line in _shuffled(folder / "qa" / "nq-open-dev.jsonl"):
        row = Row(f"{line['question'].capitalize()}?", f"The answer is {line['answer'][0]}.")
        if SHORT[0] <= _size(tokenizer, row) <= SHORT[1]:
            yield row


def _conversations(folder: Path, tokenizer: Any) -> Iterator[Row]:
    """Chain problems as long as the conversation fits; its last answer is what is learnt."""
    kept: Row | None = None
    for line in _shuffled(folder / "qa" / "gsm8k-test.jsonl"):
        said: tuple[tuple[str, str], ...] = ()
        if kept is not None:
            said = (*kept.history, ("user", kept.prompt), ("assistant", kept.response))
        longer = Row(line["question"], line["answer"], said)
        if _size(tokenizer, longer) <= LONG[1]:
            kept = longer
            continue
        if kept is not None and _size(tokenizer, kept) >= LONG[0]:
            yield kept
        kept = None


def _shuffled(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    random.Random(SEED).shuffle(lines)
    return lines


def _size(tokenizer: Any, row: Row) -> int:
    return encode(tokenizer, [row])[0].size
