"""Fine-tune a base on rows: load it, train on the answers alone, write what was learnt.

The order of rows depends on (seed, epoch) and dropout on (seed, step), so a run that resumes from
a checkpoint goes exactly the way it would have gone, and no state of a random generator is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
import torch

from imece.errors import JobError
from imece.events import AdaptationRecipe, Dpo, Kto, LoraRecipe, PromptRecipe, Sft
from imece.runtime import causal, checkpoints
from imece.runtime.course import Around, Course, Ended
from imece.runtime.ranks import Ranks
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

__all__ = ["Dtype", "Pair", "Result", "Row", "Verdict", "train"]

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Result(Ended):
    """How a run ended, and what of."""

    rows_used: int
    rows_too_long: int


@dataclass
class _Run:
    """The moving parts of one run.

    The model computes in the base's type; float32 masters of what it learns are what the
    optimizer moves, since steps smaller than bfloat16's rounding would be lost.
    """

    reader: losses.Reader
    recipe: AdaptationRecipe
    units: list[Unit]
    reference: torch.Tensor | None
    """Log-probabilities of all examples under the base, where the objective compares with it."""
    course: Course

    def weights(self) -> dict[str, torch.nn.Parameter]:
        named = self.reader.model.named_parameters()
        return {n: p for n, p in named if p.requires_grad}

    def publish(self) -> None:
        """Copy the masters into the model."""
        for key, weight in self.weights().items():
            weight.data.copy_(self.course.weights[key])

    def hand_over(self) -> None:
        """Take the slopes from the model and give them to the masters."""
        weights = self.weights()
        for key, master in self.course.weights.items():
            slope, weights[key].grad = weights[key].grad, None
            master.grad = None if slope is None else slope.float()


def train(
    base: Path,
    rows: Sequence[AnyRow],
    recipe: AdaptationRecipe,
    out: Path,
    around: Around,
    *,
    dtype: Dtype = "auto",
    context: int | None = None,
    merge: bool = False,
) -> Result:
    """Tune `base` to `rows` and write what comes out to `out`, going on from a checkpoint if any.

    That is an adapter; for full fine-tuning or with `merge` it is a whole model. Rows longer than
    `recipe.max_length` or the base's `context`, in tokens, are left out and counted, never cut.
    Of several processes the first alone writes.
    Raises JobError: "no_rows", "too_few_rows", "rank_too_large", "unsupported_method",
    "not_causal_lm", "weights_missing", "broken_weights", "broken_tokenizer", "bad_chat_template",
    "qlora_unavailable", "disk_full", "peer_lost" or "diverged" (the loss is no number).
    """
    began = time.monotonic()
    memory.keep_freed()
    units, too_long = _units(base, rows, recipe, context)
    run = _prepare(base, units, recipe, dtype, around)
    course = run.course
    resumed_from = course.step
    planned = batches([unit.size for unit in units], recipe, skip=course.step)
    finished = course.follow(planned, lambda batch: _read(run, batch, around), around, began)
    if finished and around.ranks.first:
        run.publish()
        with checkpoints.disk_full_is_named(out):
            methods.save(run.reader.model, base, out, merge=merge)
    return Result(
        finished=finished,
        steps=course.step,
        losses=course.losses,
        resumed_from=resumed_from,
        seconds=time.monotonic() - began,
        rows_used=len(units),
        rows_too_long=too_long,
    )


def _units(
    base: Path, rows: Sequence[AnyRow], recipe: AdaptationRecipe, context: int | None
) -> tuple[list[Unit], int]:
    """Return what fits, and how many rows do not."""
    most = min(recipe.max_length, context or recipe.max_length)
    if isinstance(recipe, PromptRecipe):
        most -= recipe.virtual_tokens
    known = encode(causal.tokenizer(base), rows)
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
    around: Around,
) -> _Run:
    name = _run_name(base, units, recipe, dtype)
    found = checkpoints.newest(around.checkpoints, name)
    torch.manual_seed(recipe.seed)
    plain = methods.load(base, recipe, dtype)
    pad = int(plain.config.pad_token_id or 0)  # never seen: masked by position, whatever the id is
    examples = [example for unit in units for example in unit.examples]
    causal.check_tokens(base, plain, max(max(e.prompt + e.completion) for e in examples))
    prefix = common_prefix(examples)
    shortest = sorted(examples, key=lambda example: example.size)[:2]
    fast = losses.reads_fast(plain, pad, shortest, prefix)
    reference = None
    if not isinstance(recipe.objective, Sft):
        fused = losses.fused(plain, pad, shortest, prefix) if fast else None
        reader = losses.Reader(plain.eval(), prefix, pad, fast, fused)
        reference = _reference(reader, units, recipe.batch_size, found, around.ranks)
    model = methods.adapt(plain, recipe)
    fast = fast and not isinstance(recipe, PromptRecipe)  # its tokens come in by peft's forward
    model.to(plain.device)
    with_lora = fast and isinstance(recipe, LoraRecipe)
    fused = losses.fused(model, pad, shortest, prefix) if with_lora else None
    reader = losses.Reader(model, prefix if fast else [], pad, fast, fused)
    course = _course(name, model, units, recipe, reference)
    course.go_on_from(found)
    return _Run(reader, recipe, units, reference, course)


def _course(
    name: str,
    model: Any,
    units: Sequence[Unit],
    recipe: AdaptationRecipe,
    reference: torch.Tensor | None,
) -> Course:
    masters = {
        n: p.detach().float().clone() for n, p in model.named_parameters() if p.requires_grad
    }
    steps = recipe.epochs * math.ceil(len(units) / recipe.batch_size)
    return Course(
        name,
        masters,
        torch.optim.AdamW(list(masters.values()), lr=recipe.learning_rate, weight_decay=0.0),
        lambda step: recipe.learning_rate * _schedule(step, steps, recipe.warmup),
        steps,
        {} if reference is None else {"reference": reference},
    )


@torch.no_grad()
def _reference(
    reader: losses.Reader,
    units: Sequence[Unit],
    size: int,
    found: checkpoints.Checkpoint | None,
    ranks: Ranks,
) -> torch.Tensor:
    """Return what the base makes of each unit's examples; a checkpoint holds it already."""
    device = reader.model.device
    if found is not None:
        return torch.from_numpy(found.tensors["reference"].copy()).to(device)
    examples = [example for unit in units for example in unit.examples]
    order = sorted(range(len(examples)), key=lambda i: examples[i].size)
    known = torch.zeros(len(examples), device=device)
    for at in range(ranks.rank * size, len(order), ranks.world * size):
        chosen = order[at : at + size]
        known[chosen] = reader.sequences([examples[i] for i in chosen])
    ranks.add_up([known])  # what another process reads is zero here
    return known.reshape(len(units), -1)


def _read(run: _Run, batch: list[int], around: Around) -> float:
    """Add this process's part of the gradients of a batch and return its part of the loss."""
    ranks = around.ranks
    # Each process drops other things, for it reads other rows.
    torch.manual_seed((run.recipe.seed * 1_000_003 + run.course.step) * ranks.world + ranks.rank)
    run.publish()
    mine = parts(ranks.share(batch), around.split)
    drift = _drift(run, mine, around.ranks) / len(batch)
    value, whole = 0.0, _weight(run, batch)
    for part in mine:
        loss = _loss(run, part, drift) * (_weight(run, part) / whole)
        loss.backward()  # type: ignore[no-untyped-call]
        value += loss.item()
    run.hand_over()
    return value


def _weight(run: _Run, batch: Sequence[int]) -> int:
    """Return how much units count in the mean: by their tokens, or each the same."""
    if run.reference is not None:
        return len(batch)
    return sum(len(run.units[i].examples[0].completion) for i in batch)


@torch.no_grad()
def _drift(run: _Run, mine: Sequence[list[int]], ranks: Ranks) -> float:
    """Return by how much KTO's mismatched answers gained over the base, summed over a batch."""
    if run.reference is None or not isinstance(run.recipe.objective, Kto):
        return 0.0
    gained = 0.0
    for part in mine:
        read = run.reader.sequences([run.units[i].examples[1] for i in part])
        gained += float((read - run.reference[part, 1]).sum())
    return ranks.total(gained, run.reference.device)


def _schedule(step: int, steps: int, warmup: float) -> float:
    rise = round(warmup * steps)
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def _loss(run: _Run, batch: Sequence[int], drift: float) -> torch.Tensor:
    """Return the objective's loss over the units at the places `batch`."""
    units, objective = [run.units[i] for i in batch], run.recipe.objective
    first = [unit.examples[0] for unit in units]
    if run.reference is None:
        return run.reader.tokens(first)[0].mean()
    reference = run.reference[list(batch)]
    if isinstance(objective, Dpo):
        second = [unit.examples[1] for unit in units]
        policy = run.reader.sequences([*first, *second]).reshape(2, -1).T
        return losses.dpo(policy, reference, objective)
    assert isinstance(objective, Kto)
    gained = run.reader.sequences(first) - reference[:, 0]
    desirable = torch.tensor([unit.desirable for unit in units], device=gained.device)
    return losses.kto(gained, desirable, drift, objective)


def _run_name(base: Path, units: Sequence[Unit], recipe: AdaptationRecipe, dtype: Dtype) -> str:
    rows = [asdict(unit) for unit in units]
    settings = [recipe.model_dump(mode="json"), dtype]
    config = (base / "config.json").read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([rows, settings, config]).encode()).hexdigest()
