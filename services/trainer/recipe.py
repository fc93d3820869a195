"""A causal LM on packed text, in float32: a new one, or a base that is trained further.

The windows of a step depend on (seed, epoch) alone and nothing else is random after the first
weights, so a run that resumes from a checkpoint goes exactly the way it would have gone.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imece.errors import JobError
from imece.events.recipes import PretrainingRecipe
from imece.runtime import checkpoints
from imece.runtime.ranks import ALONE, Ranks
from services.trainer import start
from services.trainer.packing import Tokens, batches, pack

_CLIP, _DECAY, _BETAS, _FLOOR = 1.0, 0.1, (0.9, 0.95), 0.1


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """How a run ended; `finished` is false where it was asked to stop and left a checkpoint."""

    finished: bool
    steps: int
    losses: list[float]
    parameters: int
    vocabulary: int
    tokens: int
    validation_loss: float | None
    bits_per_byte: float | None
    resumed_from: int
    seconds: float


@dataclass(frozen=True)
class Base:
    """A model to go on from: its folder, and the tokens that it reads at once if known."""

    folder: Path
    context: int | None = None


@dataclass(frozen=True)
class Around:
    """What surrounds a run: its folders, who hears of progress, and who may stop it."""

    work: Path
    """Holds the packed tokens meanwhile."""
    checkpoints: Path
    checkpoint_seconds: float = 20
    split: int = 1
    """Into how many parts a batch is cut to need less memory; the step stays the same."""
    on_progress: Callable[[Progress], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    ranks: Ranks = ALONE
    """The processes that share each batch: the step is that of one process alone."""


@dataclass
class _Run:
    model: Any
    optimizer: torch.optim.AdamW
    recipe: PretrainingRecipe
    step: int = 0
    losses: list[float] = field(default_factory=list)


def train(
    texts: Sequence[str],
    validation: Sequence[str],
    recipe: PretrainingRecipe,
    out: Path,
    around: Around,
    *,
    base: Base | None = None,
) -> Result:
    """Train on `texts`, measure on `validation`, write model and tokenizer to `out`.

    With `base`, its weights and tokenizer are where training starts. Goes on from a checkpoint if
    there is one. Raises JobError: "too_little_text", "diverged" or "disk_full", and with a base
    "context_too_long", "unsupported_tokenizer" or "weights_missing".
    """
    began = time.monotonic()
    if base is None:
        begun = start.new(texts, recipe)
    else:
        begun = start.continued(base.folder, recipe, base.context)
    packed = pack(begun.tokenizer, texts, around.work / "train.tokens", begun.end)
    if len(packed) <= recipe.context:
        raise JobError(
            "too_little_text",
            f"{len(texts)} texts make {len(packed)} tokens; one window of {recipe.context} needs"
            " one more than that: add text or lower the context",
        )
    if around.split > recipe.batch_size:
        raise JobError(
            "out_of_memory",
            f"one row of {recipe.context} tokens is too much for the memory: lower the context or"
            " the size of the model",
        )
    run = _prepare(begun, recipe)
    name = _run_name(begun, packed, recipe)
    resumed_from = _restore(run, checkpoints.newest(around.checkpoints, name))
    finished = _loop(run, packed, name, around, began)
    loss, bits = None, None
    if finished and around.ranks.first:
        with checkpoints.disk_full_is_named(out):
            start.write(begun, run.model, recipe, out)
        unseen = pack(begun.tokenizer, validation, around.work / "val.tokens", begun.end)
        loss, bits = _validate(run, unseen, validation)
    return Result(
        finished,
        run.step,
        run.losses,
        sum(p.numel() for p in run.model.parameters()),
        begun.tokenizer.get_vocab_size(),
        len(packed),
        loss,
        bits,
        resumed_from,
        time.monotonic() - began,
    )


def _prepare(begun: start.Start, recipe: PretrainingRecipe) -> _Run:
    torch.manual_seed(recipe.seed)
    model = start.model(begun, recipe)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": _DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return _Run(model, torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS), recipe)


def _loop(run: _Run, packed: Tokens, name: str, around: Around, start: float) -> bool:
    """Train to the end and return True, or stop where asked, with a checkpoint."""
    saved = time.monotonic()
    for windows in batches(len(packed), run.recipe, skip=run.step):
        if around.ranks.any(around.should_stop(), run.model.device):
            _save(run, around, name)
            around.ranks.wait()  # torchrun ends the others when the first is gone
            return False
        rows = _take(packed, windows, run.recipe.context, run.model.device)
        _train_step(run, rows, around)
        now = time.monotonic()
        around.on_progress(Progress(run.step, run.recipe.steps, run.losses[-1], now - start))
        if now - saved >= around.checkpoint_seconds and run.step < run.recipe.steps:
            _save(run, around, name)
            saved = now
    return True


def _take(packed: Tokens, windows: Tokens, context: int, device: torch.device) -> torch.Tensor:
    """Return rows of `context` + 1 tokens: the last is only a label."""
    at = windows.astype(np.int64) * context
    rows = np.stack([packed[i : i + context + 1] for i in at]).astype(np.int64)
    return torch.from_numpy(rows).to(device)


def _train_step(run: _Run, rows: torch.Tensor, around: Around) -> None:
    recipe = run.recipe
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(run.step, recipe.steps, recipe.warmup)
    run.optimizer.zero_grad(set_to_none=True)
    value = 0.0
    mine = around.ranks.share(rows)
    for part in mine.chunk(around.split) if len(mine) else ():
        loss = _loss(run.model, part) * (len(part) / len(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        value += loss.item()
    value = around.ranks.total(value, rows.device)
    _add_up(run.model, around.ranks)
    if not math.isfinite(value):
        raise JobError("diverged", f"the loss is {value} at step {run.step + 1}: lower the rate")
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), _CLIP)
    run.optimizer.step()
    run.step += 1
    run.losses.append(value)


def _add_up(model: Any, ranks: Ranks) -> None:
    if ranks.world == 1:
        return
    for weight in model.parameters():
        if weight.grad is None:  # a process without rows has nothing to add
            weight.grad = torch.zeros_like(weight)
    ranks.add_up([weight.grad for weight in model.parameters()])


def _loss(model: Any, rows: torch.Tensor) -> torch.Tensor:
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
def _validate(run: _Run, packed: Tokens, texts: Sequence[str]) -> tuple[float | None, float | None]:
    """Return nats a token and bits a byte on unseen text; None where there is too little."""
    context, size = run.recipe.context, run.recipe.batch_size
    windows = (len(packed) - 1) // context
    if windows < 1:
        return None, None
    run.model.eval()
    total = 0.0
    for at in range(0, windows, size):
        chosen = np.arange(at, min(at + size, windows), dtype=np.int32)
        rows = _take(packed, chosen, context, run.model.device)
        total += _loss(run.model, rows).item() * len(chosen)
    loss = total / windows
    bytes_per_token = sum(len(text.encode()) for text in texts) / len(packed)
    return loss, loss / math.log(2) / bytes_per_token


def _run_name(begun: start.Start, packed: Tokens, recipe: PretrainingRecipe) -> str:
    found = hashlib.sha256(json.dumps([begun.identity, recipe.model_dump()]).encode())
    found.update(np.ascontiguousarray(packed).data)
    return found.hexdigest()


def _save(run: _Run, around: Around, name: str) -> None:
    if not around.ranks.first:
        return
    tensors = {}
    for key, weight in run.model.named_parameters():
        tensors[f"weight/{key}"] = weight.detach().cpu().numpy()
        for part, value in run.optimizer.state[weight].items():
            tensors[f"{part}/{key}"] = value.cpu().numpy()
    checkpoints.save(around.checkpoints, run.step, name, tensors, {"losses": run.losses})


@torch.no_grad()
def _restore(run: _Run, found: checkpoints.Checkpoint | None) -> int:
    if found is None:
        return 0
    for key, weight in run.model.named_parameters():
        weight.copy_(torch.from_numpy(found.tensors[f"weight/{key}"]))
        for part in ("step", "exp_avg", "exp_avg_sq"):
            if (saved := found.tensors.get(f"{part}/{key}")) is not None:
                value = torch.from_numpy(saved.copy())
                run.optimizer.state[weight][part] = value if part == "step" else value.to(weight)
    run.step, run.losses = found.step, list(found.state["losses"])
    return found.step
