"""Examples as one row of tokens without padding, what all start with once at the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch

from services.adapter.rows import Example


@dataclass(frozen=True)
class Packed:
    """[prefix | rest of row 1 | rest of row 2 ...]; each rest is read as if after the prefix.

    A row's last token is left out: nothing is learnt from what a model says after it. Attention
    needs rows of one width. They are padded on the right, where causal order hides them.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    prefix: int
    width: int
    """Tokens of the longest rest."""
    slots: torch.Tensor
    """Where in `ids` the token of each place of (rows, width) is; padding points anywhere."""
    places: torch.Tensor
    """Where in (rows, width) each token after the prefix is."""
    learnt: torch.Tensor
    """Where in `ids` a token is whose next one is to be learnt."""
    labels: torch.Tensor
    """The tokens to learn."""
    rows: torch.Tensor
    """The row of each of them."""

    @property
    def count(self) -> int:
        return self.slots.numel() // self.width

    @cached_property
    def keys(self) -> torch.Tensor:
        """Where in `ids` the token of each place of (rows, prefix + width) is."""
        shared = torch.arange(self.prefix, device=self.slots.device).expand(self.count, -1)
        return torch.cat([shared, self.slots.reshape(self.count, -1)], dim=1).reshape(-1)


def pack(examples: Sequence[Example], prefix: Sequence[int], device: torch.device) -> Packed:
    """Lay out `examples`, which all start with `prefix` and have more of a prompt after it."""
    shared = len(prefix)
    rests = [(e.prompt[shared:] + e.completion)[:-1] for e in examples]
    sizes = [len(rest) for rest in rests]
    width, starts = max(sizes), [0, *accumulate(sizes)]
    slots: list[int] = []
    places: list[int] = []
    positions = list(range(shared))
    learnt: list[int] = []
    labels: list[int] = []
    rows: list[int] = []
    for row, (size, start, example) in enumerate(zip(sizes, starts, examples, strict=False)):
        at = shared + start
        slots += [*range(at, at + size), *[0] * (width - size)]
        places += range(row * width, row * width + size)
        positions += range(shared, shared + size)
        count = min(size, len(example.completion))  # without a prompt nothing tells the first token
        learnt += range(at + size - count, at + size)
        labels += example.completion[len(example.completion) - count :]
        rows += [row] * count

    def tensor(values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Packed(
        ids=tensor([*prefix, *(token for rest in rests for token in rest)]),
        positions=tensor(positions),
        prefix=shared,
        width=width,
        slots=tensor(slots),
        places=tensor(places),
        learnt=tensor(learnt),
        labels=tensor(labels),
        rows=tensor(rows),
    )
