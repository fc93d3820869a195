"""The course that every training takes: steps shared by its processes, checkpoints, and the end.

A recipe says what a step reads; what is kept between steps, and how a run goes on, is here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from imece.errors import JobError
from imece.runtime import checkpoints, runs
from imece.runtime.jobs.child import ChildJob
from imece.runtime.ranks import ALONE, Ranks

Batch = TypeVar("Batch")
_CLIP = 1.0
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """How far a run is, `seconds` after it started."""

    step: int
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Around:
    """What surrounds a run: where it keeps checkpoints, who hears of it, and who may stop it."""

    checkpoints: Path
    checkpoint_seconds: float = 20
    split: int = 1
    """Into how many parts a batch is cut to need less memory; the step stays the same."""
    on_progress: Callable[[Progress], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    ranks: Ranks = ALONE
    """The processes that share each batch: the step is that of one process alone."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended; `finished` is false where it was asked to stop and left a checkpoint."""

    finished: bool
    steps: int
    losses: list[float]
    resumed_from: int
    seconds: float

    def metrics(self, joules: float | None, leaked: int | None) -> dict[str, float]:
        """Return what an event says of every run.

        `joules` is None where nothing measures it, `leaked` (cases of suites among the rows) where
        nobody looked.
        """
        return {
            "first_loss": self.losses[0],
            "final_loss": runs.settled(self.losses),
            "steps": self.steps,
            "resumed_from": self.resumed_from,
            "seconds": round(self.seconds, 3),
            **({} if joules is None else {"joules": joules}),
            **({} if leaked is None else {"contaminated_cases": leaked}),
        }


def around(
    job: ChildJob, ranks: Ranks, *, checkpoint_seconds: float, per_step: int, unit: str
) -> Around:
    """Return what surrounds the run of a job, whose earlier attempts' checkpoints are brought in.

    A step works through `per_step` of what `unit` names. All processes call it together.
    """
    if ranks.first:
        runs.inherit(job.checkpoints.earlier, job.checkpoints.own)
    ranks.wait()
    meter = runs.Meter(per_step, unit)
    return Around(
        job.checkpoints.own,
        checkpoint_seconds,
        job.split,
        lambda p: job.progress(meter.progress(p.step, p.steps, p.loss, p.seconds)),
        job.should_stop,
        ranks,
    )


@dataclass
class Course:
    """What a run carries from one step to the next; a checkpoint keeps all of it."""

    name: str
    """A digest of what makes two runs the same: only its own checkpoints are gone on from."""
    weights: dict[str, torch.Tensor]
    """What the optimizer moves, in float32."""
    optimizer: torch.optim.AdamW
    rates: Callable[[int], float]
    """The learning rate of each step."""
    steps: int
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    """What else a checkpoint saves a later attempt from computing again."""
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def follow(
        self, batches: Iterable[Batch], read: Callable[[Batch], float], around: Around, began: float
    ) -> bool:
        """Take a step for each batch; False where it was asked to stop and left a checkpoint.

        `read` adds this process's part of the gradients to the weights and returns its part of the
        loss. JobError: "diverged" where the loss is no number, "disk_full", "peer_lost".
        """
        saved = time.monotonic()
        for batch in batches:
            if around.ranks.any(around.should_stop(), self._device):
                self._save(around)
                around.ranks.wait()  # torchrun ends the others when the first is gone
                return False
            self._move(read(batch), around.ranks)
            now = time.monotonic()
            around.on_progress(Progress(self.step, self.steps, self.losses[-1], now - began))
            if now - saved >= around.checkpoint_seconds and self.step < self.steps:
                self._save(around)
                saved = time.monotonic()
        return True

    @torch.no_grad()
    def go_on_from(self, found: checkpoints.Checkpoint | None) -> None:
        """Take the place of the run that left a checkpoint, if any, to the bit."""
        if found is None:
            return
        for key, weight in self.weights.items():
            weight.copy_(torch.from_numpy(found.tensors[f"weight/{key}"]))
            for part in _MOMENTS:
                if (saved := found.tensors.get(f"{part}/{key}")) is not None:
                    value = torch.from_numpy(saved.copy())
                    moved = value if part == "step" else value.to(weight)
                    self.optimizer.state[weight][part] = moved
        self.step, self.losses = found.step, list(found.state["losses"])

    @property
    def _device(self) -> torch.device:
        return next(iter(self.weights.values())).device

    def _move(self, part: float, ranks: Ranks) -> None:
        value = ranks.total(part, self._device)
        if not math.isfinite(value):
            raise JobError(
                "diverged", f"the loss is {value} at step {self.step + 1}: lower the rate"
            )
        self._add_up(ranks)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates(self.step)
        slope = float(torch.nn.utils.clip_grad_norm_(self.weights.values(), _CLIP))
        if not math.isfinite(slope):  # one more step, and the weights are no numbers either
            raise JobError(
                "diverged", f"the gradient is {slope} at step {self.step + 1}: lower the rate"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.losses.append(value)

    def _add_up(self, ranks: Ranks) -> None:
        if ranks.world == 1:
            return
        slopes = []
        for weight in self.weights.values():
            if weight.grad is None:  # a process without rows has nothing to add
                weight.grad = torch.zeros_like(weight)
            slopes.append(weight.grad)
        ranks.add_up(slopes)

    def _save(self, around: Around) -> None:
        if not around.ranks.first:
            return
        tensors = {name: value.cpu().numpy() for name, value in self.kept.items()}
        for key, weight in self.weights.items():
            tensors[f"weight/{key}"] = weight.detach().cpu().numpy()
            for part, value in self.optimizer.state[weight].items():
                tensors[f"{part}/{key}"] = value.cpu().numpy()
        state = {"losses": self.losses}
        checkpoints.save(around.checkpoints, self.step, self.name, tensors, state)
