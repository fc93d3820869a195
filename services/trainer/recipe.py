"""A causal LM on packed text, in float32: a new one, or a base that is trained further.

The windows of a step depend on (seed, epoch) alone and nothing else is random after the first
weights, so a run that resumes from a checkpoint goes exactly the way it would have gone.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imece.errors import JobError
from imece.events.recipes import PretrainingRecipe
from imece.runtime import causal, checkpoints
from imece.runtime.course import Around, Course, Ended
from services.trainer import start
from services.trainer.packing import Counted, Tokens, batches, pack

_DECAY, _BETAS, _FLOOR = 0.1, (0.9, 0.95), 0.1


@dataclass(frozen=True, kw_only=True)
class Result(Ended):
    """How a run ended, and what of."""

    parameters: int
    vocabulary: int
    texts: int
    tokens: int
    validation_loss: float | None
    bits_per_byte: float | None


@dataclass(frozen=True)
class Base:
    """A model to go on from: its folder, and the tokens that it reads at once if known."""

    folder: Path
    context: int | None = None


@dataclass
class _Run:
    model: Any
    recipe: PretrainingRecipe
    course: Course


def train(
    texts: Iterable[str],
    validation: Iterable[str],
    recipe: PretrainingRecipe,
    out: Path,
    around: Around,
    *,
    base: Base | None = None,
) -> Result:
    """Train on `texts`, measure on `validation`, write model and tokenizer to `out`.

    Neither is held in memory, and a new tokenizer goes through `texts` once more; the packed tokens
    lie beside `out` meanwhile, without names.

    With `base`, its weights and tokenizer are where training starts. Goes on from a checkpoint if
    there is one. Raises JobError: "too_little_text", "diverged" or "disk_full", and with a base
    "context_too_long", "unsupported_tokenizer", or as for `imece.runtime.causal`.
    """
    began = time.monotonic()
    if base is None:
        begun = start.new(texts, recipe)
    else:
        begun = start.continued(base.folder, recipe, base.context)
    told = Counted(texts)
    packed = pack(begun.tokenizer, told, out.parent, begun.end)
    if len(packed) <= recipe.context:
        raise JobError(
            "too_little_text",
            f"{told.texts} texts make {len(packed)} tokens; one window of {recipe.context} needs"
            " one more than that: add text or lower the context",
        )
    if around.split > recipe.batch_size:
        raise JobError(
            "out_of_memory",
            f"one row of {recipe.context} tokens is too much for the memory: lower the context or"
            " the size of the model",
        )
    run = _prepare(begun, packed, recipe)
    course = run.course
    course.go_on_from(checkpoints.newest(around.checkpoints, course.name))
    resumed_from = course.step
    windows = batches(len(packed), recipe, skip=course.step)
    finished = course.follow(windows, lambda at: _read(run, packed, at, around), around, began)
    loss, bits = None, None
    if finished and around.ranks.first:
        with checkpoints.disk_full_is_named(out):
            start.write(begun, run.model, recipe, out)
        rest = Counted(validation)
        unseen = pack(begun.tokenizer, rest, out.parent, begun.end)
        loss, bits = _validate(run, unseen, rest.size)
    return Result(
        finished=finished,
        steps=course.step,
        losses=course.losses,
        resumed_from=resumed_from,
        seconds=time.monotonic() - began,
        parameters=sum(p.numel() for p in run.model.parameters()),
        vocabulary=begun.tokenizer.get_vocab_size(),
        texts=told.texts,
        tokens=len(packed),
        validation_loss=loss,
        bits_per_byte=bits,
    )


def _prepare(begun: start.Start, packed: Tokens, recipe: PretrainingRecipe) -> _Run:
    torch.manual_seed(recipe.seed)
    model = start.model(begun, recipe)
    if begun.base is not None:
        causal.check_tokens(begun.base, model, int(packed.max()))
    weights = dict(model.named_parameters())
    groups = [
        {"params": [p for p in weights.values() if p.ndim >= 2], "weight_decay": _DECAY},
        {"params": [p for p in weights.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    course = Course(
        _run_name(begun, packed, recipe),
        weights,
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS),
        lambda step: recipe.learning_rate * _schedule(step, recipe.steps, recipe.warmup),
        recipe.steps,
    )
    return _Run(model, recipe, course)


def _take(packed: Tokens, windows: Tokens, context: int, device: torch.device) -> torch.Tensor:
    """Return rows of `context` + 1 tokens: the last is only a label."""
    at = windows.astype(np.int64) * context
    rows = np.stack([packed[i : i + context + 1] for i in at]).astype(np.int64)
    return torch.from_numpy(rows).to(device)


def _read(run: _Run, packed: Tokens, windows: Tokens, around: Around) -> float:
    """Add this process's part of the gradients of a batch and return its part of the loss."""
    rows = _take(packed, windows, run.recipe.context, run.model.device)
    value = 0.0
    mine = around.ranks.share(rows)
    for part in mine.chunk(around.split) if len(mine) else ():
        loss = _loss(run.model, part) * (len(part) / len(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        value += loss.item()
    return value


def _mixes(device: torch.device) -> bool:
    """Tell whether to multiply in bfloat16: on a GPU that has it. The weights stay float32."""
    return device.type == "cuda" and causal.fast_dtype(device) == torch.bfloat16


def _loss(model: Any, rows: torch.Tensor) -> torch.Tensor:
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=_mixes(rows.device)):
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Rise linearly, then fall along a cosine to a tenth."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def _validate(run: _Run, packed: Tokens, size: int) -> tuple[float | None, float | None]:
    """Return nats a token and bits a byte on unseen text of `size` bytes; None: too little."""
    context, batch = run.recipe.context, run.recipe.batch_size
    windows = (len(packed) - 1) // context
    if windows < 1:
        return None, None
    run.model.eval()
    total = 0.0
    for at in range(0, windows, batch):
        chosen = np.arange(at, min(at + batch, windows), dtype=np.int32)
        rows = _take(packed, chosen, context, run.model.device)
        total += _loss(run.model, rows).item() * len(chosen)
    loss = total / windows
    return loss, loss / math.log(2) / (size / len(packed))


def _run_name(begun: start.Start, packed: Tokens, recipe: PretrainingRecipe) -> str:
    found = hashlib.sha256(json.dumps([begun.identity, recipe.model_dump()]).encode())
    found.update(np.ascontiguousarray(packed).data)
    return found.hexdigest()
