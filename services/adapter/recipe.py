"""LoRA on instruction rows: load a base, train on the answers alone, write a peft adapter.

The order of rows depends on (seed, epoch) and dropout on (seed, step), so a run that resumes from
a checkpoint goes exactly the way it would have gone, and no state of a random generator is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from imece.errors import JobError
from imece.events.recipes import LoraRecipe
from imece.runtime import checkpoints
from services.adapter.rows import Example, Row, batches, common_prefix, encode

__all__ = ["Dtype", "Progress", "Result", "Row", "pick_dtype", "train"]

_IGNORE = -100
_CLIP = 1.0
Dtype = Literal["auto", "bfloat16", "float32"]


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """How a run ended; `finished` is false where it was asked to stop and left a checkpoint."""

    finished: bool
    steps: int
    losses: list[float]
    rows_used: int
    rows_too_long: int
    resumed_from: int
    seconds: float


@dataclass
class _Run:
    """The moving parts of one run.

    The adapter computes in the base's type; its float32 masters are what the optimizer moves,
    since steps smaller than bfloat16's rounding would be lost.
    """

    model: Any
    masters: dict[str, torch.Tensor]
    optimizer: torch.optim.AdamW
    recipe: LoraRecipe
    prefix: list[int]
    pad: int
    steps: int
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def weights(self) -> dict[str, torch.nn.Parameter]:
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def publish(self) -> None:
        """Copy the masters into the adapter."""
        for key, weight in self.weights().items():
            weight.data.copy_(self.masters[key])


def train(
    base: Path,
    rows: Sequence[Row],
    recipe: LoraRecipe,
    out: Path,
    checkpoint_folder: Path,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 20,
    dtype: Dtype = "auto",
) -> Result:
    """Adapt `base` to `rows` and write the adapter to `out`, going on from a checkpoint if any.

    Rows longer than `recipe.max_length` tokens are left out and counted, never cut.
    Raises JobError: "no_rows", "rank_too_large", "diverged" (the loss is no number), "disk_full".
    """
    start = time.monotonic()
    used = [
        e for e in encode(AutoTokenizer.from_pretrained(base), rows) if e.size <= recipe.max_length
    ]
    if not used:
        raise JobError("no_rows", f"none of {len(rows)} rows fits {recipe.max_length} tokens")
    run, name = _prepare(base, used, recipe, dtype), _run_name(base, used, recipe, dtype)
    resumed_from = _restore(run, checkpoints.newest(checkpoint_folder, name))
    saved, finished = time.monotonic(), True
    for batch in batches(used, recipe, skip=run.step):
        if should_stop():
            _save(run, checkpoint_folder, name)
            finished = False
            break
        _train_step(run, batch)
        rate, now = run.optimizer.param_groups[0]["lr"], time.monotonic()
        on_progress(Progress(run.step, run.steps, run.losses[-1], rate, now - start))
        if now - saved >= checkpoint_seconds and run.step < run.steps:
            _save(run, checkpoint_folder, name)
            saved = time.monotonic()
    if finished:
        with checkpoints.disk_full_is_named(out):
            run.model.save_pretrained(out, safe_serialization=True)
    too_long, seconds = len(rows) - len(used), time.monotonic() - start
    return Result(finished, run.step, run.losses, len(used), too_long, resumed_from, seconds)


def pick_dtype(wanted: Dtype, device: torch.device) -> torch.dtype:
    """Return bfloat16 for "auto" where the hardware multiplies it natively, else float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capable = torch.cpu.get_capabilities()
    native = capable.get("avx512_bf16") or capable.get("amx_bf16") or capable.get("bf16")
    return torch.bfloat16 if native else torch.float32


def _prepare(base: Path, examples: Sequence[Example], recipe: LoraRecipe, dtype: Dtype) -> _Run:
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Eager attention: torch's fused backward is slower than this on short rows on a CPU.
    plain = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=pick_dtype(dtype, device),
        attn_implementation="eager",
        trust_remote_code=False,
        use_safetensors=True,
    )
    targets = _targets(plain, recipe.last_layers)
    _check_rank(plain, targets, recipe.rank)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(plain, config, autocast_adapter_dtype=False).to(device).train()
    masters = {
        n: p.detach().float().clone() for n, p in model.named_parameters() if p.requires_grad
    }
    optimizer = torch.optim.AdamW(list(masters.values()), lr=recipe.learning_rate, weight_decay=0.0)
    steps = recipe.epochs * math.ceil(len(examples) / recipe.batch_size)
    pad = plain.config.pad_token_id or 0  # never seen: masked by position, whatever the id is
    return _Run(model, masters, optimizer, recipe, common_prefix(examples), int(pad), steps)


def _targets(model: Any, last_layers: int | None) -> list[str]:
    """Name every linear module but the output head; a block is the first number in a name."""
    head = model.get_output_embeddings()
    modules = model.named_modules()
    linear = [n for n, m in modules if isinstance(m, torch.nn.Linear) and m is not head]
    blocks = [int(m[1]) if (m := re.search(r"\.(\d+)\.", name)) else 0 for name in linear]
    first = max(blocks) + 1 - last_layers if last_layers else 0
    return [name for name, block in zip(linear, blocks, strict=True) if block >= first]


def _check_rank(model: Any, targets: Sequence[str], rank: int) -> None:
    """Refuse a rank that a matrix cannot have: it would train more than the matrix itself holds."""
    sides = [min(model.get_submodule(name).weight.shape) for name in targets]
    if rank > min(sides):
        raise JobError(
            "rank_too_large",
            f"rank {rank} exceeds the smallest matrix of the base, {min(sides)}: lower the rank",
        )


def _train_step(run: _Run, batch: Sequence[Example]) -> None:
    recipe = run.recipe
    torch.manual_seed(recipe.seed * 1_000_003 + run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(run.step, run.steps, recipe.warmup)
    loss = _loss(run, batch)
    value = loss.item()
    if not math.isfinite(value):
        raise JobError("diverged", f"the loss is {value} at step {run.step + 1}: lower the rate")
    loss.backward()  # type: ignore[no-untyped-call]
    weights = run.weights()
    for key, master in run.masters.items():
        master.grad, weights[key].grad = _as_float(weights[key].grad), None
    torch.nn.utils.clip_grad_norm_(run.masters.values(), _CLIP)
    run.optimizer.step()
    run.publish()
    run.step += 1
    run.losses.append(value)


def _as_float(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.float()


def _schedule(step: int, steps: int, warmup: float) -> float:
    rise = max(1, round(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def _loss(run: _Run, batch: Sequence[Example]) -> torch.Tensor:
    """Mean cross-entropy of the completion tokens; logits are made at those positions only."""
    device = run.model.device
    shared = len(run.prefix)
    rows = [e.prompt[shared:] + e.completion for e in batch]
    width = max(map(len, rows))
    ids = torch.tensor([r + [run.pad] * (width - len(r)) for r in rows], device=device)
    labels = torch.full_like(ids, _IGNORE)
    mask = torch.zeros(len(rows), shared + width, dtype=torch.long, device=device)
    for i, (row, example) in enumerate(zip(rows, batch, strict=True)):
        answer_at = len(row) - len(example.completion)
        labels[i, answer_at : len(row)] = ids[i, answer_at : len(row)]
        mask[i, : shared + len(row)] = 1
    cache = None
    model = run.model.get_base_model()
    body, head = model.get_decoder(), model.get_output_embeddings()
    if shared:
        prefix = torch.tensor([run.prefix], device=device)
        cache = body(
            input_ids=prefix, use_cache=True, past_key_values=DynamicCache()
        ).past_key_values
        cache.batch_repeat_interleave(len(rows))
    hidden = body(
        input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
    ).last_hidden_state
    wanted = labels[:, 1:] != _IGNORE
    logits = head(hidden[:, :-1][wanted]).float()
    return cross_entropy(logits, labels[:, 1:][wanted])


def _run_name(base: Path, examples: Sequence[Example], recipe: LoraRecipe, dtype: Dtype) -> str:
    rows = [asdict(example) for example in examples]
    settings = [recipe.model_dump(mode="json"), dtype]
    config = (base / "config.json").read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([rows, settings, config]).encode()).hexdigest()


def _save(run: _Run, folder: Path, name: str) -> None:
    tensors = {}
    for key, master in run.masters.items():
        tensors[f"weight/{key}"] = master.cpu().numpy()
        for part, value in run.optimizer.state[master].items():
            tensors[f"{part}/{key}"] = value.cpu().numpy()
    checkpoints.save(folder, run.step, name, tensors, {"losses": run.losses})


def _restore(run: _Run, found: checkpoints.Checkpoint | None) -> int:
    if found is None:
        return 0
    for key, master in run.masters.items():
        master.copy_(torch.from_numpy(found.tensors[f"weight/{key}"]))
        for part in ("step", "exp_avg", "exp_avg_sq"):
            if (saved := found.tensors.get(f"{part}/{key}")) is not None:
                value = torch.from_numpy(saved.copy())
                run.optimizer.state[master][part] = value if part == "step" else value.to(master)
    run.publish()
    run.step, run.losses = found.step, list(found.state["losses"])
    return found.step
