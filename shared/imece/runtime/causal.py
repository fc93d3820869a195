"""A causal LM and its tokenizer from a folder; what cannot be used fails by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, AutoTokenizer

from imece.errors import JobError


def device() -> torch.device:
    """Return where models compute best on this machine."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16")
    return torch.bfloat16 if native else torch.float32


def model(base: Path, dtype: torch.dtype, **options: Any) -> Any:
    """Load the causal LM in the folder `base`; only safetensors, none of its own code.

    JobError: "not_causal_lm", "broken_config", "weights_missing", or "broken_weights" where some
    have shapes that the configuration does not give them.
    """
    try:
        found, told = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told by name below
            **options,
        )
    except ValueError as error:
        raise JobError("not_causal_lm", f"base {base} is no causal LM that we know: {error}") from (
            error
        )
    except StrictDataclassError as error:
        raise JobError(
            "broken_config", f"base {base}: its config.json is wrong: {error}"
        ) from error
    kind = type(found).__name__
    if wrong := sorted(told["mismatched_keys"]):
        name, stored, wanted = wrong[0]
        raise JobError(
            "broken_weights",
            f"base {base}: {len(wrong)} weights do not fit its config.json, such as {name}:"
            f" {tuple(stored)}, where {kind} has {tuple(wanted)}",
        )
    if missing := sorted(told["missing_keys"]):
        raise JobError(
            "weights_missing",
            f"base {base} lacks {len(missing)} weights of {kind}, such as {missing[0]}",
        )
    return found


def tokenizer(base: Path) -> Any:
    """Load the tokenizer in the folder `base`. JobError("broken_tokenizer") where there is none."""
    try:
        found = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise _broken(base, str(error)) from error
    if not len(found):
        raise _broken(base, "it has no tokens")
    return found


def check_tokens(base: Path, model: Any, largest: int) -> None:
    """Raise JobError("broken_tokenizer") where a tokenizer wrote an id that the model has not."""
    known = model.get_input_embeddings().num_embeddings
    if largest >= known:
        raise _broken(base, f"it writes token {largest}, the model knows {known}")


def _broken(base: Path, why: str) -> JobError:
    return JobError(
        "broken_tokenizer",
        f"base {base} has no tokenizer that can be used: {why}; put its own files beside it",
    )
