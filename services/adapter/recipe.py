"""Fine-tune a base on rows: load it, train on the answers alone, write what was learnt.

The order of rows depends on (seed, epoch) and dropout on (seed, step), so a run that resumes from
a checkpoint goes exactly the way it would have gone, and no state of a random generator is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
import torch
from transformers import AutoTokenizer

from imece.errors import JobError
from imece.events import AdaptationRecipe, Dpo, Kto, LoraRecipe, PromptRecipe, Sft
from imece.runtime import checkpoints
from services.adapter import losses, memory, methods
from services.adapter.methods import Dtype
from services.adapter.rows import (
    AnyRow,
    Pair,
    Row,
    Unit,
    Verdict,
    batches,
    common_prefix,
    encode,
    mismatched,
    parts,
)

__all__ = ["Dtype", "Pair", "Progress", "Result", "Row", "Verdict", "train"]

log = structlog.get_logger()
_CLIP = 1.0


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

    The model computes in the base's type; float32 masters of what it learns are what the
    optimizer moves, since steps smaller than bfloat16's rounding would be lost.
    """

    reader: losses.Reader
    masters: dict[str, torch.Tensor]
    optimizer: torch.optim.AdamW
    recipe: AdaptationRecipe
    units: list[Unit]
    reference: torch.Tensor | None
    """Log-probabilities of all examples under the base, where the objective compares with it."""
    steps: int
    split: int = 1
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def weights(self) -> dict[str, torch.nn.Parameter]:
        named = self.reader.model.named_parameters()
        return {n: p for n, p in named if p.requires_grad}

    def publish(self) -> None:
        """Copy the masters into the model."""
        for key, weight in self.weights().items():
            weight.data.copy_(self.masters[key])


def train(
    base: Path,
    rows: Sequence[AnyRow],
    recipe: AdaptationRecipe,
    out: Path,
    checkpoint_folder: Path,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 20,
    dtype: Dtype = "auto",
    context: int | None = None,
    merge: bool = False,
    split: int = 1,
) -> Result:
    """Tune `base` to `rows` and write what comes out to `out`, going on from a checkpoint if any.

    That is an adapter; for full fine-tuning or with `merge` it is a whole model. Rows longer than
    `recipe.max_length` or the base's `context`, in tokens, are left out and counted, never cut.
    A batch is read in `split` parts, which needs less memory and makes the same step.
    Raises JobError: "no_rows", "too_few_rows", "rank_too_large", "unsupported_method",
    "not_causal_lm", "weights_missing", "bad_chat_template", "qlora_unavailable", "disk_full" or
    "diverged" (the loss is no number).
    """
    start = time.monotonic()
    memory.keep_freed()
    units, too_long = _units(base, rows, recipe, context)
    name = _run_name(base, units, recipe, dtype)
    found = checkpoints.newest(checkpoint_folder, name)
    run = _prepare(base, units, recipe, dtype, found)
    run.split = split
    resumed_from = _restore(run, found)
    saved, finished = time.monotonic(), True
    for batch in batches([unit.size for unit in units], recipe, skip=run.step):
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
            methods.save(run.reader.model, base, out, merge=merge)
    seconds = time.monotonic() - start
    return Result(finished, run.step, run.losses, len(units), too_long, resumed_from, seconds)


def _units(
    base: Path, rows: Sequence[AnyRow], recipe: AdaptationRecipe, context: int | None
) -> tuple[list[Unit], int]:
    """Return what fits, and how many rows do not."""
    most = min(recipe.max_length, context or recipe.max_length)
    if isinstance(recipe, PromptRecipe):
        most -= recipe.virtual_tokens
    known = encode(AutoTokenizer.from_pretrained(base), rows)
    fitting = [unit for unit in known if unit.size <= most]
    too_long = len(known) - len(fitting)
    if too_long:
        log.warning("adapter.rows_too_long", rows=too_long, of=len(known), tokens=most)
    if not fitting:
        raise JobError("no_rows", f"none of {len(rows)} rows fits {most} tokens")
    if isinstance(recipe.objective, Kto):
        if len(fitting) < 2:
            raise JobError("too_few_rows", "kto compares rows with each other and needs two")
        fitting = mismatched(fitting, recipe.seed)
    return fitting, too_long


def _prepare(
    base: Path,
    units: list[Unit],
    recipe: AdaptationRecipe,
    dtype: Dtype,
    found: checkpoints.Checkpoint | None,
) -> _Run:
    torch.manual_seed(recipe.seed)
    plain = methods.load(base, recipe, dtype)
    pad = int(plain.config.pad_token_id or 0)  # never seen: masked by position, whatever the id is
    examples = [example for unit in units for example in unit.examples]
    prefix = common_prefix(examples)
    shortest = sorted(examples, key=lambda example: example.size)[:2]
    fast = losses.reads_fast(plain, pad, shortest, prefix)
    reference = None
    if not isinstance(recipe.objective, Sft):
        fused = losses.fused(plain, pad, shortest, prefix) if fast else None
        reader = losses.Reader(plain.eval(), prefix, pad, fast, fused)
        reference = _reference(reader, units, recipe.batch_size, found)
    model = methods.adapt(plain, recipe)
    fast = fast and not isinstance(recipe, PromptRecipe)  # its tokens come in by peft's forward
    masters = {
        n: p.detach().float().clone() for n, p in model.named_parameters() if p.requires_grad
    }
    model.to(plain.device)
    optimizer = torch.optim.AdamW(list(masters.values()), lr=recipe.learning_rate, weight_decay=0.0)
    steps = recipe.epochs * math.ceil(len(units) / recipe.batch_size)
    with_lora = fast and isinstance(recipe, LoraRecipe)
    fused = losses.fused(model, pad, shortest, prefix) if with_lora else None
    reader = losses.Reader(model, prefix if fast else [], pad, fast, fused)
    return _Run(reader, masters, optimizer, recipe, units, reference, steps)


@torch.no_grad()
def _reference(
    reader: losses.Reader, units: Sequence[Unit], size: int, found: checkpoints.Checkpoint | None
) -> torch.Tensor:
    """Return what the base makes of each unit's examples; a checkpoint holds it already."""
    device = reader.model.device
    if found is not None:
        return torch.from_numpy(found.tensors["reference"].copy()).to(device)
    examples = [example for unit in units for example in unit.examples]
    order = sorted(range(len(examples)), key=lambda i: examples[i].size)
    known = torch.zeros(len(examples), device=device)
    for at in range(0, len(order), size):
        chosen = order[at : at + size]
        known[chosen] = reader.sequences([examples[i] for i in chosen])
    return known.reshape(len(units), -1)


def _train_step(run: _Run, batch: Sequence[int]) -> None:
    recipe = run.recipe
    torch.manual_seed(recipe.seed * 1_000_003 + run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.learning_rate * _schedule(run.step, run.steps, recipe.warmup)
    value = 0.0
    for part, share in parts(batch, _weights(run, batch), run.split):
        loss = _loss(run, part) * share
        loss.backward()  # type: ignore[no-untyped-call]
        value += loss.item()
    if not math.isfinite(value):
        raise JobError("diverged", f"the loss is {value} at step {run.step + 1}: lower the rate")
    weights = run.weights()
    for key, master in run.masters.items():
        slope, weights[key].grad = weights[key].grad, None
        master.grad = None if slope is None else slope.float()
    torch.nn.utils.clip_grad_norm_(run.masters.values(), _CLIP)
    run.optimizer.step()
    run.publish()
    run.step += 1
    run.losses.append(value)


def _weights(run: _Run, batch: Sequence[int]) -> list[int]:
    """Return how much each unit counts in the mean: by its tokens, or each the same."""
    by_token = run.reference is None
    return [len(run.units[i].examples[0].completion) if by_token else 1 for i in batch]


def _schedule(step: int, steps: int, warmup: float) -> float:
    rise = round(warmup * steps)
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def _loss(run: _Run, batch: Sequence[int]) -> torch.Tensor:
    """Return the objective's loss over the units at the places `batch`."""
    units, objective = [run.units[i] for i in batch], run.recipe.objective
    if run.reference is None:
        return run.reader.tokens([unit.examples[0] for unit in units])[0].mean()
    reference = run.reference[list(batch)]
    first, second = ([unit.examples[i] for unit in units] for i in (0, 1))
    if isinstance(objective, Dpo):
        policy = run.reader.sequences([*first, *second]).reshape(2, -1).T
        return losses.dpo(policy, reference, objective)
    assert isinstance(objective, Kto)
    with torch.no_grad():
        drifted = run.reader.sequences(second)
    policy = torch.stack([run.reader.sequences(first), drifted], dim=1)
    desirable = torch.tensor([unit.desirable for unit in units], device=policy.device)
    return losses.kto(policy, reference, desirable, objective)


def _run_name(base: Path, units: Sequence[Unit], recipe: AdaptationRecipe, dtype: Dtype) -> str:
    rows = [asdict(unit) for unit in units]
    settings = [recipe.model_dump(mode="json"), dtype]
    config = (base / "config.json").read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([rows, settings, config]).encode()).hexdigest()


def _save(run: _Run, folder: Path, name: str) -> None:
    tensors = {}
    for key, master in run.masters.items():
        tensors[f"weight/{key}"] = master.cpu().numpy()
        for part, value in run.optimizer.state[master].items():
            tensors[f"{part}/{key}"] = value.cpu().numpy()
    if run.reference is not None:
        tensors["reference"] = run.reference.cpu().numpy()
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
