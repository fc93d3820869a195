"""Rows to train on: as tokens, and in batches of like length in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imece.events import AdaptationRecipe
from imece.runtime.chat import Said, completion_text, prompt_text


@dataclass(frozen=True)
class Row:
    """An answer to learn."""

    prompt: str
    response: str
    history: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two answers, the better one named."""

    prompt: str
    chosen: str
    rejected: str
    history: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One answer and whether it is wanted."""

    prompt: str
    response: str
    desirable: bool
    history: tuple[Said, ...] = ()


AnyRow = Row | Pair | Verdict


@dataclass(frozen=True)
class Example:
    prompt: list[int]
    completion: list[int]

    @property
    def size(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class Unit:
    """What one term of the loss is taken on.

    SFT: the answer. DPO: the chosen and the rejected answer. KTO: the answer, and another
    prompt's answer by which the drift from the base is measured (see `mismatched`).
    """

    examples: tuple[Example, ...]
    desirable: bool = True

    @property
    def size(self) -> int:
        return max(example.size for example in self.examples)


def encode(tokenizer: Any, rows: Sequence[AnyRow]) -> list[Unit]:
    return [_unit(tokenizer, row) for row in rows]


def _unit(tokenizer: Any, row: AnyRow) -> Unit:
    if isinstance(row, Pair):
        answers = (row.chosen, row.rejected)
        both = [_example(tokenizer, Row(row.prompt, each, row.history)) for each in answers]
        return Unit(tuple(both))
    if isinstance(row, Verdict):
        one = _example(tokenizer, Row(row.prompt, row.response, row.history))
        return Unit((one,), row.desirable)
    return Unit((_example(tokenizer, row),))


def _example(tokenizer: Any, row: Row) -> Example:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return Example(
        ids(prompt_text(tokenizer, row.prompt, row.history)),
        ids(completion_text(tokenizer, row.prompt, row.response, row.history)),
    )


def mismatched(units: Sequence[Unit], seed: int) -> list[Unit]:
    """Give each unit, as its second example, its own prompt with another unit's answer."""
    order = random.Random(f"{seed}/mismatched").sample(range(len(units)), len(units))
    lent = {at: order[i - 1] for i, at in enumerate(order)}
    return [
        Unit(
            (unit.examples[0], _borrow(unit.examples[0], units[lent[at]].examples[0])),
            unit.desirable,
        )
        for at, unit in enumerate(units)
    ]


def _borrow(own: Example, other: Example) -> Example:
    return Example(own.prompt, other.completion)


def common_prefix(examples: Sequence[Example]) -> list[int]:
    """Return the tokens that all prompts start with; they are run once a step, not once a row."""
    low, high = min(e.prompt for e in examples), max(e.prompt for e in examples)
    shared = 0
    while shared < min(len(low), len(high)) - 1 and low[shared] == high[shared]:
        shared += 1
    return low[:shared]


def batches(sizes: Sequence[int], recipe: AdaptationRecipe, skip: int) -> Iterator[list[int]]:
    """Yield the places of each batch from batch `skip` on: rows of like length together."""
    step, size = 0, recipe.batch_size
    for epoch in range(recipe.epochs):
        chance = random.Random(f"{recipe.seed}/{epoch}")
        order = chance.sample(range(len(sizes)), len(sizes))
        order.sort(key=lambda i: sizes[i])  # stable: ties stay shuffled
        planned = [order[at : at + size] for at in range(0, len(order), size)]
        chance.shuffle(planned)
        for batch in planned:
            if step >= skip:
                yield batch
            step += 1


def parts(batch: list[int], split: int) -> list[list[int]]:
    """Return a batch in at most `split` parts, none where it is empty."""
    size = max(1, -(-len(batch) // split))
    return [batch[at : at + size] for at in range(0, len(batch), size)]
