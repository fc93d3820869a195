"""Rows to train on: as tokens, and in batches of like length in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imece.events.recipes import LoraRecipe
from imece.runtime.chat import completion_text, prompt_text


@dataclass(frozen=True)
class Row:
    prompt: str
    response: str


@dataclass(frozen=True)
class Example:
    prompt: list[int]
    completion: list[int]

    @property
    def size(self) -> int:
        return len(self.prompt) + len(self.completion)


def encode(tokenizer: Any, rows: Sequence[Row]) -> list[Example]:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return [
        Example(
            ids(prompt_text(tokenizer, row.prompt)),
            ids(completion_text(tokenizer, row.prompt, row.response)),
        )
        for row in rows
    ]


def common_prefix(examples: Sequence[Example]) -> list[int]:
    """Return the tokens that all prompts start with; they are run once a step, not once a row."""
    low, high = min(e.prompt for e in examples), max(e.prompt for e in examples)
    shared = 0
    while shared < min(len(low), len(high)) - 1 and low[shared] == high[shared]:
        shared += 1
    return low[:shared]


def batches(examples: Sequence[Example], recipe: LoraRecipe, skip: int) -> Iterator[list[Example]]:
    """Yield the batches of all epochs from batch `skip` on: rows of like length together."""
    step, size = 0, recipe.batch_size
    for epoch in range(recipe.epochs):
        chance = random.Random(f"{recipe.seed}/{epoch}")
        order = chance.sample(range(len(examples)), len(examples))
        order.sort(key=lambda i: examples[i].size)  # stable: ties stay shuffled
        planned = [order[at : at + size] for at in range(0, len(order), size)]
        chance.shuffle(planned)
        for batch in planned:
            if step >= skip:
                yield [examples[i] for i in batch]
            step += 1
