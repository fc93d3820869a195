"""Greedy answers of a base model and of adapters on it, in left-padded batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from imece.runtime.chat import prompt_text

OnProgress = Callable[[int, int], None]
"""Called with prompts answered so far and prompts in all."""


class Answerer:
    """One loaded base that answers with any number of adapters in turn; not thread-safe."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._tokenizer.eos_token_id

    def answer(
        self,
        adapter: Path | None,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 24,
        batch_size: int = 32,
        on_progress: OnProgress = lambda _done, _all: None,
    ) -> list[str]:
        """Return one greedy answer a prompt, in order; `adapter` none means the bare base."""
        texts = [prompt_text(self._tokenizer, prompt) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        answers = [""] * len(texts)
        with _adapted(self._model, adapter) as model, torch.inference_mode():
            for at in range(0, len(order), batch_size):
                picked = order[at : at + batch_size]
                said = self._batch(model, [texts[i] for i in picked], max_new_tokens)
                for i, text in zip(picked, said, strict=True):
                    answers[i] = text
                on_progress(at + len(picked), len(texts))
        return answers

    def _batch(self, model: Any, texts: list[str], max_new_tokens: int) -> list[str]:
        tokenizer = self._tokenizer
        read = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        read = read.to(model.device)
        written = model.generate(
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = written[:, read["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]


def load(base: Path) -> Answerer:
    """Load `base` once, in bfloat16 where the hardware multiplies it natively."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=_fast_dtype(device), trust_remote_code=False, use_safetensors=True
    )
    return Answerer(model.to(device).eval(), AutoTokenizer.from_pretrained(base))


def answer(
    base: Path,
    adapter: Path | None,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 24,
    batch_size: int = 32,
    on_progress: OnProgress = lambda _done, _all: None,
) -> list[str]:
    """Load `base` and answer `prompts` with `adapter`; see `Answerer` for several adapters."""
    return load(base).answer(
        adapter,
        prompts,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        on_progress=on_progress,
    )


@contextmanager
def _adapted(base: Any, adapter: Path | None) -> Iterator[Any]:
    """Put the adapter's modules on the base and take them off again, weights untouched."""
    if adapter is None:
        yield base
        return
    wrapped = PeftModel.from_pretrained(base, str(adapter), autocast_adapter_dtype=False)
    try:
        yield wrapped.eval()
    finally:
        if hasattr(wrapped.base_model, "unload"):  # learned tokens change no module
            wrapped.unload()


def _fast_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16")
    return torch.bfloat16 if native else torch.float32
