"""Which prefixes of token ids a scoring run shares, and how its rows are batched: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Tokens = tuple[int, ...]
LEAST_SAVING = 256
"""Tokens; a prefix that saves fewer is not worth a pass of its own."""
_DEEPEST = 50
_ROWS = 64
_PASS = 32
"""So many tokens take about as long as what any pass takes besides its tokens."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was said, and what may come next: log p of each continuation after `prefix` is asked."""

    prefix: Tokens
    continuations: tuple[Tokens, ...]


@dataclass(slots=True)
class Node:
    """Tokens `start` to `end` of `prefix` are run once for all `rows` and `children` below."""

    prefix: Tokens
    start: int
    end: int
    rows: list[int] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)


def split(prefix: Sequence[int], wholes: Sequence[Sequence[int]]) -> Request:
    """Return the request for texts tokenised as a whole, cut where the first of them differs.

    A tokenizer may join the end of a prompt with a choice, so the two are never tokenised apart.
    """
    size = min(len(prefix), *(len(whole) - 1 for whole in wholes))
    while size > 1 and any(tuple(w[:size]) != tuple(prefix[:size]) for w in wholes):
        size -= 1
    return Request(tuple(prefix[:size]), tuple(tuple(whole[size:]) for whole in wholes))


def plan(requests: Sequence[Request], least: int = LEAST_SAVING) -> Node:
    """Return the tree of shared prefixes; every row keeps at least one token of its own."""
    rows = sorted(range(len(requests)), key=lambda i: (requests[i].prefix, i))
    return _node(requests, rows, 0, least, depth=0)


def buckets(requests: Sequence[Request], node: Node, most_tokens: int) -> Iterator[list[int]]:
    """Yield the rows of `node` in batches of like length, capped by tokens and not by rows.

    A batch's tokens are those that are run, and an eighth of those that are copied for them.
    """
    batch: list[int] = []
    first = 0
    for row in sorted(node.rows, key=lambda i: (len(requests[i].prefix), i)):
        size, choices = len(requests[row].prefix), len(requests[row].continuations)
        count, own = len(batch) + 1, size - node.end
        cost = max(count * own, count * choices * size // 8)
        if batch and (cost > most_tokens or count > _ROWS or wasteful(len(batch), first, own)):
            yield batch
            batch = []
        first = first if batch else own
        batch.append(row)
    if batch:
        yield batch


def wasteful(rows: int, first: int, size: int) -> bool:
    """Tell whether padding `rows` of at least `first` tokens to `size` costs more than a pass."""
    return rows * (size - first) > _PASS


def _node(requests: Sequence[Request], rows: list[int], start: int, least: int, depth: int) -> Node:
    first, last = requests[rows[0]].prefix, requests[rows[-1]].prefix
    # Rows are sorted, so what the outermost share all share; the shortest keeps a token to run.
    end = start
    limit = min(len(requests[i].prefix) for i in rows) - 1
    while len(rows) > 1 and end < limit and first[end] == last[end]:
        end += 1
    node = Node(first, start, end)
    if depth == _DEEPEST or len(rows) == 1:
        node.rows = rows
        return node
    for _, group in groupby(rows, key=lambda i: requests[i].prefix[end]):
        members = list(group)
        child = _node(requests, members, end, least, depth + 1)
        if child.children or (len(members) - 1) * (child.end - end) >= least:
            node.children.append(child)
        else:
            node.rows += members
    return node
