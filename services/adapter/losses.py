"""Losses on the tokens of completions; logits are made at those positions only.

The fast way reads the tokens that all prompts start with once a batch instead of once a row.
What a model or method does not support goes the plain way, through the model's own forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from torch.nn.functional import cross_entropy, logsigmoid
from transformers import DynamicCache

from imece.events import Dpo, Kto
from services.adapter.fused import Fused, UnsupportedError, fuse
from services.adapter.rows import Example

log = structlog.get_logger()
_IGNORE = -100
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Reader:
    """How a model reads examples; `prefix` is what all prompts start with, `pad` any token."""

    model: Any
    prefix: list[int]
    pad: int
    fast: bool
    fused: Fused | None = None
    """The fastest way, where the model is of the kind."""

    def tokens(self, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each token to complete, and the row that it belongs to."""
        if self.fused is not None:
            return self.fused.tokens(examples, self.prefix)
        return _fast(self, examples) if self.fast else _plain(self.model, self.pad, examples)

    def sequences(self, examples: Sequence[Example]) -> torch.Tensor:
        """Return the log-probability of each completion."""
        loss, rows = self.tokens(examples)
        return torch.zeros(len(examples), device=loss.device).index_add(0, rows, -loss)


def dpo(policy: torch.Tensor, reference: torch.Tensor, objective: Dpo) -> torch.Tensor:
    """Sigmoid loss over (pair, [chosen, rejected]) log-probabilities."""
    gained = policy - reference
    margin = objective.beta * (gained[:, 0] - gained[:, 1])
    wrong = objective.label_smoothing
    return -((1 - wrong) * logsigmoid(margin) + wrong * logsigmoid(-margin)).mean()


def kto(
    gained: torch.Tensor, desirable: torch.Tensor, drift: float, objective: Kto
) -> torch.Tensor:
    """KTO loss over what the log-probability of each row's answer gained over the base.

    `drift` is the mean that answers of other rows gained over the whole batch; it has no gradient,
    and a negative one counts as none.
    """
    sign = torch.where(desirable, 1.0, -1.0)
    weight = torch.where(desirable, objective.desirable_weight, objective.undesirable_weight)
    return (weight * (1 - torch.sigmoid(sign * objective.beta * (gained - max(0.0, drift))))).mean()


def reads_fast(plain: Any, pad: int, examples: Sequence[Example], prefix: list[int]) -> bool:
    """Tell whether the fast way gives a base the same loss as its own forward does.

    Models that scale their logits or keep no plain cache of keys and values differ.
    """
    why = _unlike(Reader(plain, prefix, pad, fast=True), examples)
    if why:
        log.warning("adapter.plain_path", model=type(plain).__name__, why=why)
    return not why


def fused(model: Any, pad: int, examples: Sequence[Example], prefix: list[int]) -> Fused | None:
    """Return the fastest way to read a model with or without LoRA, if its loss is the same."""
    try:
        found = fuse(model)
        why = _unlike(Reader(model, prefix, pad, fast=True, fused=found), examples)
    except UnsupportedError as error:
        found, why = None, str(error)
    if why:
        log.info("adapter.not_fused", model=type(model).__name__, why=why)
    return None if why else found


@torch.no_grad()
def _unlike(reader: Reader, examples: Sequence[Example]) -> str:
    """Say how a reader's loss differs from that of the model's own forward; nothing if not."""
    model = reader.model
    training = model.training
    model.eval()
    try:
        fast, _ = reader.tokens(examples)
        slow, _ = _plain(model, reader.pad, examples)
        off = float((fast.mean() - slow.mean()).abs() / slow.mean().abs().clamp(min=0.1))
        return "" if off <= _TOLERANCE.get(model.dtype, 5e-2) else f"its loss differs by {off:.1%}"
    except Exception as error:  # models of others fail in their own ways; the plain way remains
        return f"{type(error).__name__}: {error}"
    finally:
        model.train(training)


def _fast(reader: Reader, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    model, shared = reader.model, len(reader.prefix)
    if hasattr(model, "peft_config"):
        model = model.get_base_model()
    device = model.device
    ids, labels, mask = _padded(examples, reader.pad, device, skip=shared)
    mask = torch.cat([mask.new_ones(len(examples), shared), mask], dim=1)
    body, head = model.get_decoder(), model.get_output_embeddings()
    cache = None
    if shared:
        prefix = torch.tensor([reader.prefix], device=device)
        cache = body(
            input_ids=prefix, use_cache=True, past_key_values=DynamicCache()
        ).past_key_values
        cache.batch_repeat_interleave(len(examples))
    hidden = body(
        input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
    ).last_hidden_state
    wanted = labels[:, 1:] != _IGNORE
    logits = head(hidden[:, :-1][wanted]).float()
    loss = cross_entropy(logits, labels[:, 1:][wanted], reduction="none")
    return loss, wanted.nonzero()[:, 0]


def _plain(model: Any, pad: int, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    ids, labels, mask = _padded(examples, pad, model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logits = logits[:, -ids.shape[1] :]  # prompt tuning puts its own tokens in front
    wanted = labels[:, 1:] != _IGNORE
    loss = cross_entropy(logits[:, :-1][wanted].float(), labels[:, 1:][wanted], reduction="none")
    return loss, wanted.nonzero()[:, 0]


def _padded(
    examples: Sequence[Example], pad: int, device: torch.device, skip: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return token ids, labels and mask, padded on the right; `skip` tokens in front are left."""
    rows = [e.prompt[skip:] + e.completion for e in examples]
    width = max(map(len, rows))
    ids = torch.tensor([r + [pad] * (width - len(r)) for r in rows], device=device)
    labels = torch.full_like(ids, _IGNORE)
    mask = torch.zeros_like(ids)
    for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
        answer_at = len(row) - len(example.completion)
        labels[i, answer_at : len(row)] = ids[i, answer_at : len(row)]
        mask[i, : len(row)] = 1
    return ids, labels, mask
