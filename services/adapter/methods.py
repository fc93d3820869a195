"""From a base and a recipe to the model that learns, and from that to the files it leaves."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers.pytorch_utils import Conv1D

from imece.errors import JobError
from imece.events import AdaptationRecipe, FullRecipe, Ia3Recipe, LoraRecipe, PromptRecipe
from imece.local.models import copy_tokenizer
from imece.runtime import causal

Dtype = Literal["auto", "bfloat16", "float32"]


def load(base: Path, recipe: AdaptationRecipe, dtype: Dtype) -> Any:
    """Load `base` onto the best device. JobError as for `causal.model`."""
    device = causal.device()
    number = causal.fast_dtype(device) if dtype == "auto" else getattr(torch, dtype)
    options: dict[str, Any] = {}
    if recipe.method == "qlora":
        options = _four_bits(device, number)
    # Eager attention: torch's fused backward is slower than this on short rows on a CPU.
    model = causal.model(base, number, attn_implementation="eager", **options)
    return model if options else model.to(device)


def _four_bits(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise JobError(
            "qlora_unavailable",
            "qlora needs a CUDA device and the package bitsandbytes; use lora here",
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def adapt(plain: Any, recipe: AdaptationRecipe) -> Any:
    """Return the model that learns: `plain` with an adapter, or itself for full fine-tuning.

    JobError: "rank_too_large", or "unsupported_method" where the base has no place for it.
    """
    if isinstance(recipe, FullRecipe):
        return _thawed(plain, recipe.last_layers).train()
    try:
        return get_peft_model(plain, _config(plain, recipe), autocast_adapter_dtype=False).train()
    except ValueError as error:
        raise JobError(
            "unsupported_method",
            f"{recipe.method} does not fit {type(plain).__name__}: {error}",
        ) from error


def _thawed(plain: Any, last_layers: int | None) -> Any:
    """Let every weight learn, or those of the last blocks alone.

    A tied head is the embeddings too, whose gradient goes through every block: it stays frozen.
    """
    plain.requires_grad_(last_layers is None)
    if last_layers is not None:
        blocks = {name: _block(name) for name, _ in plain.named_parameters()}
        first = max((b for b in blocks.values() if b is not None), default=-1) + 1 - last_layers
        chosen = [n for n, block in blocks.items() if block is not None and block >= first]
        if not chosen:
            raise JobError("unsupported_method", f"{type(plain).__name__} has no blocks to choose")
        for name in chosen:
            plain.get_parameter(name).requires_grad_(True)
    return plain


def _block(name: str) -> int | None:
    """Return the block that a module or weight is of: the first number in its name."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def _config(plain: Any, recipe: AdaptationRecipe) -> Any:
    if isinstance(recipe, Ia3Recipe):
        return IA3Config(task_type="CAUSAL_LM")
    if isinstance(recipe, PromptRecipe):
        kind = PrefixTuningConfig if recipe.method == "prefix" else PromptTuningConfig
        return kind(task_type="CAUSAL_LM", num_virtual_tokens=recipe.virtual_tokens)
    assert isinstance(recipe, LoraRecipe)
    targets = _targets(plain, recipe.last_layers)
    _check_rank(plain, targets, recipe.rank)
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        use_rslora=recipe.method == "rslora",
        use_dora=recipe.method == "dora",
        fan_in_fan_out=any(isinstance(plain.get_submodule(t), Conv1D) for t in targets),
        task_type="CAUSAL_LM",
    )


def _targets(model: Any, last_layers: int | None) -> list[str]:
    """Name every linear module but the output head."""
    head = model.get_output_embeddings()
    modules = model.named_modules()
    linear = [n for n, m in modules if isinstance(m, torch.nn.Linear | Conv1D) and m is not head]
    if not linear:
        raise JobError("unsupported_method", f"{type(model).__name__} has no linear modules")
    blocks = [_block(name) or 0 for name in linear]
    first = max(blocks) + 1 - last_layers if last_layers else 0
    return [name for name, block in zip(linear, blocks, strict=True) if block >= first]


def _check_rank(model: Any, targets: Sequence[str], rank: int) -> None:
    """Refuse a rank that a matrix cannot have: it would train more than the matrix itself holds."""
    smallest = min(min(_sides(model.get_submodule(name))) for name in targets)
    if rank > smallest:
        raise JobError(
            "rank_too_large",
            f"rank {rank} exceeds the smallest matrix of the base, {smallest}: lower the rank",
        )


def _sides(module: Any) -> tuple[int, ...]:
    """A weight in four bits is stored in another shape, so the module is asked first."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    return tuple(module.weight.shape)


def save(model: Any, base: Path, out: Path, *, merge: bool) -> None:
    """Write the adapter, or the whole model with the base's own tokenizer files beside it."""
    adapter = hasattr(model, "peft_config")
    if adapter and not merge:
        model.save_pretrained(out, safe_serialization=True)
        return
    if adapter:
        number = model.dtype
        model = model.float().merge_and_unload(safe_merge=True).to(number)
    model.save_pretrained(out, safe_serialization=True)
    copy_tokenizer(base, out)
