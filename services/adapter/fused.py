"""Read packed examples through a Llama-like model with few large operations.

The model stays as it is: peft's modules own the adapters, and the base's weights only move into
storage in which those that read the same input lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import dropout

from services.adapter.attention import Attended, Heads
from services.adapter.kernels import Gated, Missed, Normed, Projected
from services.adapter.packed import pack
from services.adapter.rows import Example

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


class UnsupportedError(Exception):
    """The model or its adapter is not of the kind that is read here."""


@dataclass(frozen=True)
class _Group:
    """Linear modules that read the same input."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    slices: tuple[tuple[int, int, float], ...]
    adapters: tuple[torch.Tensor, ...]
    drop: float

    def __call__(self, x: torch.Tensor, *, training: bool) -> torch.Tensor:
        seen = dropout(x, self.drop) if training and self.drop and self.adapters else None
        out: torch.Tensor = Projected.apply(
            x, seen, (self.weight, self.bias), self.slices, *self.adapters
        )
        return out


@dataclass(frozen=True)
class _Norm:
    weight: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = Normed.apply(x, self.weight, self.eps)
        return out


@dataclass(frozen=True)
class _Block:
    before: _Norm
    qkv: _Group
    heads: Heads
    out: _Group
    between: _Norm
    gates: _Group
    down: _Group


@dataclass(frozen=True)
class Fused:
    """The blocks of `model`, which learns at most LoRA on its linear modules."""

    model: Any
    decoder: Any
    blocks: tuple[_Block, ...]
    norm: _Norm

    def tokens(
        self, examples: Sequence[Example], prefix: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each token to complete, and the row that it belongs to."""
        packed, training = pack(examples, prefix, self.model.device), self.model.training
        x = self.decoder.embed_tokens(packed.ids)
        cos, sin = self.decoder.rotary_emb(x[None], packed.positions[None])
        half = cos.shape[-1] // 2
        turn = (cos[0, :, None, :half].contiguous(), sin[0, :, None, :half].contiguous())
        last = len(self.blocks) - 1
        for at, block in enumerate(self.blocks):
            qkv = block.qkv(block.before(x), training=training)
            read = Attended.apply(qkv, turn, packed, block.heads)
            if at == last:  # of the others nothing is asked any more
                x, read = x[packed.learnt], read[packed.learnt]
            x = x + block.out(read, training=training)
            gates = block.gates(block.between(x), training=training)
            x = x + block.down(Gated.apply(gates), training=training)
        head = self.model.get_output_embeddings().weight
        return Missed.apply(self.norm(x), head, packed.labels), packed.rows


def fuse(model: Any) -> Fused:
    """Take a causal LM, with LoRA or without, apart. UnsupportedError where that cannot be."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    decoder = base.get_decoder()
    _expect(set(dict(decoder.named_children())) == {"embed_tokens", "layers", "norm", "rotary_emb"})
    kinds = getattr(base.config, "layer_types", None) or ["full_attention"]
    _expect(set(kinds) == {"full_attention"} and not getattr(base.config, "sliding_window", None))
    _expect(base.get_output_embeddings().bias is None)
    blocks = tuple(_block(layer, base.config) for layer in decoder.layers)
    fused = Fused(model, decoder, blocks, _norm(decoder.norm))
    groups = [g for b in blocks for g in (b.qkv, b.out, b.gates, b.down)]
    known = {id(p) for group in groups for p in group.adapters}
    if base is not model and any(id(p) not in known for p in model.parameters() if p.requires_grad):
        raise UnsupportedError("something else than LoRA of linear modules learns")
    return fused


def _expect(held: bool) -> None:
    if not held:
        raise UnsupportedError("its blocks are built in another way than Llama's")


def _block(layer: Any, config: Any) -> _Block:
    attention, mlp = layer.self_attn, layer.mlp
    children = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
    _expect(set(dict(layer.named_children())) == children)
    _expect(set(dict(attention.named_children())) == set(_ATTENTION))
    _expect(set(dict(mlp.named_children())) == {*_MLP, "act_fn"})
    _expect("silu" in type(mlp.act_fn).__name__.lower() and not config.attention_dropout)
    size = attention.head_dim
    queries, keys, values = (_linear(getattr(attention, name)) for name in _ATTENTION[:3])
    _expect(keys.weight.shape == values.weight.shape)
    heads = Heads(
        len(queries.weight) // size, len(keys.weight) // size, size, float(attention.scaling)
    )
    gate, up, down = (getattr(mlp, name) for name in _MLP)
    return _Block(
        before=_norm(layer.input_layernorm),
        qkv=_group(attention.q_proj, attention.k_proj, attention.v_proj),
        heads=heads,
        out=_group(attention.o_proj),
        between=_norm(layer.post_attention_layernorm),
        gates=_group(gate, up),
        down=_group(down),
    )


def _norm(module: Any) -> _Norm:
    _expect(hasattr(module, "variance_epsilon"))
    return _Norm(module.weight.detach(), float(module.variance_epsilon))


def _linear(module: Any) -> Any:
    return getattr(module, "base_layer", module)


def _group(*modules: Any) -> _Group:
    """Join modules and what peft put beside each."""
    linears = [_linear(module) for module in modules]
    slices, adapters, drops, at = [], [], {0.0}, 0
    for module, base in zip(modules, linears, strict=True):
        _expect(type(base) is torch.nn.Linear)
        if base is not module:
            down, up, scale, drop = _adapter(module)
            slices.append((at, at + base.out_features, scale))
            adapters += [down, up]
            drops.add(drop)
        at += base.out_features
    biases = [base.bias for base in linears]
    bias = None
    if any(each is not None for each in biases):
        _expect(all(each is not None for each in biases))
        bias = torch.cat([each.detach() for each in biases])
    return _Group(_joined(linears), bias, tuple(slices), tuple(adapters), max(drops))


def _adapter(module: Any) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """Return A, B, scale and dropout of the one adapter that peft put on a module."""
    if type(module) is not Linear or len(module.active_adapters) != 1 or module.merged:
        raise UnsupportedError(f"{type(module).__name__} is no plain LoRA")
    (name,) = module.active_adapters
    down, up = module.lora_A[name], module.lora_B[name]
    if module.lora_variant or up.bias is not None or module.fan_in_fan_out:
        raise UnsupportedError("its LoRA is of another kind, such as DoRA")
    drop = float(getattr(module.lora_dropout[name], "p", 0.0))
    return down.weight, up.weight, float(module.scaling[name]), drop


@torch.no_grad()
def _joined(linears: Sequence[torch.nn.Linear]) -> torch.Tensor:
    """Return the weights below each other; the modules keep theirs as parts of that."""
    weights = [module.weight.detach() for module in linears]
    first = weights[0]
    height = sum(len(weight) for weight in weights)
    if _adjacent(weights):
        return first.as_strided((height, first.shape[1]), (first.shape[1], 1))
    whole = torch.cat(weights)
    for module, part in zip(
        linears, whole.split_with_sizes([len(w) for w in weights]), strict=True
    ):
        module.weight.data = part
    return whole


def _adjacent(weights: Sequence[torch.Tensor]) -> bool:
    """Tell whether weights lie one after the other already."""
    expected = weights[0].data_ptr()
    for weight in weights:
        same = weight.untyped_storage().data_ptr() == weights[0].untyped_storage().data_ptr()
        if not (same and weight.is_contiguous() and weight.data_ptr() == expected):
            return False
        expected += weight.numel() * weight.element_size()
    return True
