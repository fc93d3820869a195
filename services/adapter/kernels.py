"""Forward and backward of a block's parts, written out: fewer and larger operations than autograd.

Weights of the base learn nothing and get no gradient. Each does what the model's own modules and
peft's LoRA do, in the same number types, up to the order of rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import Function
from torch.nn.functional import linear, silu


class Normed(Function):
    """Root mean square norm, computed in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = inverse.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        out: torch.Tensor = (wide * inverse).to(x.dtype).mul_(weight)
        return out

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse
        inner = slope.to(torch.float32, copy=True).mul_(weight)
        along = torch.linalg.vecdot(unit, inner).div_(x.shape[-1]).unsqueeze_(-1)
        return inner.sub_(unit.mul_(along)).mul_(inverse).to(x.dtype), None, None


class Gated(Function):
    """silu(gate) * up, of both side by side."""

    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        out = torch.empty_like(both)
        to_gate, to_up = out.chunk(2, dim=-1)
        torch.mul(slope, silu(gate), out=to_up)
        to_gate.copy_(torch.ops.aten.silu_backward(slope * up, gate))
        return out


class Projected(Function):
    """Linear modules that read the same input, as one, with the LoRA of each.

    `base` is their weight and bias. `slices` says for each pair (A, B) in `adapters` its first
    and last output and its scale.
    `seen` is what the adapters see of `x` where dropout hides some of it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        seen: torch.Tensor | None,
        base: tuple[torch.Tensor, torch.Tensor | None],
        slices: Sequence[tuple[int, int, float]],
        *adapters: torch.Tensor,
    ) -> torch.Tensor:
        weight, bias = base
        out = linear(x, weight, bias)
        ctx.slices, ctx.dropped = slices, seen is not None
        if not adapters:
            ctx.save_for_backward(weight)
            return out
        seen = x if seen is None else seen
        down, up = torch.cat(adapters[::2]), _block_diagonal(len(weight), slices, adapters)
        inner = seen @ down.t()
        ctx.save_for_backward(weight, seen, inner, down, up)
        return out.addmm_(inner, up.t())

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        weight, *rest = ctx.saved_tensors
        to_x = slope @ weight if ctx.needs_input_grad[0] else None
        if not rest:
            return to_x, None, None, None
        seen, inner, down, up = rest
        to_inner, to_seen = slope @ up, None
        if ctx.dropped:
            to_seen = to_inner @ down if ctx.needs_input_grad[1] else None
        elif to_x is not None:
            to_x.addmm_(to_inner, down)
        to_down, to_up = to_inner.t() @ seen, inner.t() @ slope
        return to_x, to_seen, None, None, *_of_each(ctx.slices, to_down, to_up)


def _block_diagonal(
    height: int, slices: Sequence[tuple[int, int, float]], adapters: Sequence[torch.Tensor]
) -> torch.Tensor:
    ups = adapters[1::2]
    out = ups[0].new_zeros(height, sum(up.shape[1] for up in ups))
    at = 0
    for (first, last, scale), up in zip(slices, ups, strict=True):
        torch.mul(up, scale, out=out[first:last, at : at + up.shape[1]])
        at += up.shape[1]
    return out


def _of_each(
    slices: Sequence[tuple[int, int, float]], to_down: torch.Tensor, to_up: torch.Tensor
) -> list[torch.Tensor]:
    """Cut the gradients of all adapters side by side into those of each."""
    rank = len(to_down) // len(slices)
    found = []
    for i, (first, last, scale) in enumerate(slices):
        rows = slice(i * rank, (i + 1) * rank)
        found += [to_down[rows], to_up[rows, first:last].t().mul(scale)]
    return found


class Missed(Function):
    """Cross-entropy of each row of hidden states, through the head's weight."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        logits = linear(hidden, weight)
        wide = logits.float()
        total = wide.logsumexp(dim=-1)
        ctx.save_for_backward(logits, weight, labels, total)
        return total - wide.gather(1, labels[:, None])[:, 0]

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Any:
        logits, weight, labels, total = ctx.saved_tensors
        chances = logits.to(torch.float32, copy=True).sub_(total[:, None]).exp_()
        at = torch.arange(len(labels), device=labels.device)
        chances[at, labels] -= 1
        return chances.mul_(slope[:, None]).to(logits.dtype) @ weight, None, None
