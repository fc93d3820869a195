"""What a training starts from: a new model with a tokenizer of its own, or a base to go on from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from imece.errors import JobError
from imece.events import PretrainingRecipe
from imece.local.models import copy_tokenizer
from imece.runtime import causal
from services.trainer.packing import END, end_id, train_tokenizer


@dataclass(frozen=True)
class Start:
    """A tokenizer, the token that ends a text, and the base's folder where there is one."""

    tokenizer: Tokenizer
    end: int
    base: Path | None = None

    @property
    def identity(self) -> list[str]:
        """What makes two starts the same."""
        config = (self.base / "config.json").read_text("utf-8") if self.base is not None else ""
        return [self.tokenizer.to_str(), str(self.end), config]


def new(texts: Iterable[str], recipe: PretrainingRecipe) -> Start:
    tokenizer = train_tokenizer(texts, recipe.vocabulary)
    return Start(tokenizer, end_id(tokenizer))


def continued(base: Path, recipe: PretrainingRecipe, context: int | None) -> Start:
    """Go on from `base`; JobError where its context is too short or its tokenizer is slow."""
    if context is not None and recipe.context > context:
        raise JobError(
            "context_too_long",
            f"the recipe's context of {recipe.context} tokens exceeds the base's, {context}",
        )
    known = causal.tokenizer(base)
    if not known.is_fast or known.eos_token_id is None:
        raise JobError(
            "unsupported_tokenizer", f"base {base} has no fast tokenizer with an end-of-text token"
        )
    return Start(known.backend_tokenizer, int(known.eos_token_id), base)


def model(start: Start, recipe: PretrainingRecipe) -> Any:
    """Return the model to train, in float32, on the best device."""
    device = causal.device()
    if start.base is None:
        return LlamaForCausalLM(_config(start, recipe)).to(device).train()
    return causal.model(start.base, torch.float32).to(device).train()


def _config(start: Start, recipe: PretrainingRecipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=start.tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden,
        intermediate_size=math.ceil(recipe.hidden * 8 / 3 / 16) * 16,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=start.end,
        eos_token_id=start.end,
        pad_token_id=start.end,
        dtype="float32",
    )


def write(start: Start, trained: Any, recipe: PretrainingRecipe, out: Path) -> None:
    """Write model and tokenizer; a base's tokenizer stays to the byte what it was."""
    trained.save_pretrained(out)
    if start.base is not None:
        copy_tokenizer(start.base, out)
        return
    PreTrainedTokenizerFast(
        tokenizer_object=start.tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=recipe.context,
    ).save_pretrained(out)
