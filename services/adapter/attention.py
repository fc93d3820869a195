"""Causal attention over packed rows that share a prefix, with rotary positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import Function

from services.adapter.packed import Packed

_BLOCK = 128
"""Queries that are read at a time: later keys than theirs are not multiplied at all."""


@dataclass(frozen=True)
class Heads:
    """How many heads of queries share how many of keys, how wide they are, how scores scale."""

    queries: int
    keys: int
    size: int
    scale: float

    @property
    def group(self) -> int:
        return self.queries // self.keys


class Attended(Function):
    """Attention over queries, keys and values side by side, which are turned by position first."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        packed: Packed,
        heads: Heads,
    ) -> torch.Tensor:
        turned = heads.queries + heads.keys
        parts = qkv.view(len(qkv), -1, heads.size)
        query, key = _turn(parts[:, :turned], *turn).split_with_sizes(
            [heads.queries, heads.keys], dim=1
        )
        value, shared = parts[:, turned:], packed.prefix
        out, kept = torch.empty_like(query), []
        if shared:
            first = (query[:shared], key[:shared], value[:shared])
            out[:shared], saved = _read(*first, rows=1, heads=heads)
            kept += saved
        rest = (query[packed.slots], key[packed.keys], value[packed.keys])
        padded, saved = _read(*rest, rows=packed.count, heads=heads)
        out[shared:] = padded[packed.places]
        ctx.save_for_backward(*turn, *kept, *saved)
        ctx.packed, ctx.heads, ctx.first = packed, heads, len(kept)
        return out.reshape(len(qkv), -1)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        packed, heads, shared = ctx.packed, ctx.heads, ctx.packed.prefix
        cos, sin, *saved = ctx.saved_tensors
        slope = slope.view(len(slope), heads.queries, heads.size)
        turned = heads.queries + heads.keys
        out = slope.new_empty(len(slope), turned + heads.keys, heads.size)
        query, key, value = out.split_with_sizes([heads.queries, heads.keys, heads.keys], dim=1)
        padded = slope.new_zeros(packed.slots.numel(), heads.queries, heads.size)
        padded[packed.places] = slope[shared:]
        to_query, *to_both = _read_back(padded, saved[ctx.first :], packed.count, heads)
        query[shared:] = to_query[packed.places]
        to_both = [each.view(packed.count, -1, heads.keys, heads.size) for each in to_both]
        for to_all, into in zip(to_both, (key, value), strict=True):
            into[shared:] = to_all[:, shared:].reshape(-1, *to_all.shape[2:])[packed.places]
        if shared:
            first = _read_back(slope[:shared], saved[: ctx.first], 1, heads)
            query[:shared] = first[0]
            key[:shared] = first[1] + to_both[0][:, :shared].sum(0)
            value[:shared] = first[2] + to_both[1][:, :shared].sum(0)
        out[:, :turned] = _turn(out[:, :turned], cos, -sin)
        return out.view(len(slope), -1), None, None, None


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn each head by its position; `cos` and `sin` are (tokens, 1, half a head)."""
    low, high = x.chunk(2, dim=-1)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    to_low, to_high = out.chunk(2, dim=-1)
    torch.mul(low, cos, out=to_low).addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=to_high).addcmul_(low, sin)
    return out


def _read(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: int, heads: Heads
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Let queries read keys that end where they end; return what they read, what to keep."""
    query = _by_group(query, rows, heads).mul_(heads.scale)
    key, value = _by_head(key, rows, heads), _by_head(value, rows, heads)
    out, chances = torch.empty_like(query), []
    for at, upto, seen in _blocks(query, key, heads):
        scores = torch.bmm(query[:, at:upto], key[:, :seen].transpose(1, 2))
        _hide(scores, heads)
        chances.append(scores.softmax(-1, dtype=torch.float32).to(query.dtype))
        out[:, at:upto] = torch.bmm(chances[-1], value[:, :seen])
    return _from_group(out, rows, heads), [query, key, value, *chances]


def _read_back(
    slope: torch.Tensor, saved: list[torch.Tensor], rows: int, heads: Heads
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value, *chances = saved
    slope = _by_group(slope, rows, heads)
    to_query, to_key, to_value = torch.empty_like(query), key * 0, value * 0
    for (at, upto, seen), chance in zip(_blocks(query, key, heads), chances, strict=True):
        given = slope[:, at:upto]
        to_value[:, :seen].baddbmm_(chance.transpose(1, 2), given)
        to_chance = torch.bmm(given, value[:, :seen].transpose(1, 2))
        to_scores = torch._softmax_backward_data(to_chance, chance, -1, chance.dtype)
        to_query[:, at:upto] = torch.bmm(to_scores, key[:, :seen])
        to_key[:, :seen].baddbmm_(to_scores.transpose(1, 2), query[:, at:upto])
    to_query.mul_(heads.scale)
    return (
        _from_group(to_query, rows, heads),
        _from_head(to_key, rows, heads),
        _from_head(to_value, rows, heads),
    )


def _blocks(query: torch.Tensor, key: torch.Tensor, heads: Heads) -> list[tuple[int, int, int]]:
    """Return first and last place of each block of queries, and how many keys it may see."""
    width = query.shape[1] // heads.group
    before = key.shape[1] - width
    ends = [min(at + _BLOCK, width) for at in range(0, width, _BLOCK)]
    starts = [0, *ends]
    return [
        (at * heads.group, end * heads.group, before + end)
        for at, end in zip(starts, ends, strict=False)
    ]


def _hide(scores: torch.Tensor, heads: Heads) -> None:
    """Hide later keys; the last query of a block sees all its keys."""
    own = scores.shape[1] // heads.group
    mask = scores.new_full((own, own), float("-inf")).triu_(1)
    scores[:, :, -own:] += mask.repeat_interleave(heads.group, 0)


def _by_group(x: torch.Tensor, rows: int, heads: Heads) -> torch.Tensor:
    """(rows * width, queries, size) to (rows * keys, width * group, size), copied."""
    x = x.reshape(rows, -1, heads.keys, heads.group, heads.size).transpose(1, 2)
    return x.clone(memory_format=torch.contiguous_format).view(rows * heads.keys, -1, heads.size)


def _from_group(x: torch.Tensor, rows: int, heads: Heads) -> torch.Tensor:
    x = x.view(rows, heads.keys, -1, heads.group, heads.size).transpose(1, 2)
    return x.reshape(-1, heads.queries, heads.size)


def _by_head(x: torch.Tensor, rows: int, heads: Heads) -> torch.Tensor:
    x = x.reshape(rows, -1, heads.keys, heads.size).transpose(1, 2)
    return x.reshape(rows * heads.keys, -1, heads.size)


def _from_head(x: torch.Tensor, rows: int, heads: Heads) -> torch.Tensor:
    x = x.view(rows, heads.keys, -1, heads.size).transpose(1, 2)
    return x.reshape(-1, heads.keys, heads.size)
