"""Three ways to tune one base on one task: ours, transformers' Trainer with peft, and trl.

All load the base in the same number type, take the same tokens, labels, LoRA, optimizer, schedule,
clipping and number of steps. Seconds run from before the first step to after the last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from imece.runtime import causal
from imece.runtime.course import Around
from services.adapter import losses, methods, recipe
from tests.bench.tuning.material import Task


def ours(base: Path, task: Task, out: Path) -> float:
    """Tune with the adapter's recipe and write the adapter to `out`; return the seconds."""
    began: list[float] = []
    ended: list[float] = []

    def before_a_step() -> bool:
        began.append(time.perf_counter())
        return False

    around = Around(
        out.with_name(f"{out.name}-checkpoints"),
        checkpoint_seconds=float("inf"),
        split=task.split,
        on_progress=lambda _: ended.append(time.perf_counter()),
        should_stop=before_a_step,
    )
    recipe.train(base, task.rows, task.recipe, out, around)
    return ended[-1] - began[0]


def trainer(base: Path, task: Task, out: Path) -> float:
    """Do the same with transformers' Trainer and peft, as their documentation shows it."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    clock = _Clock()
    tuned = Trainer(
        get_peft_model(_load(base), _lora(task)),
        TrainingArguments(**_arguments(task, out)),
        train_dataset=_columns(task),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[clock],
    )
    tuned.train()
    tuned.save_model(str(out))
    return clock.seconds


def trl(base: Path, task: Task, out: Path) -> float:
    """Do the same with trl's SFTTrainer; what is not of the task has its default.

    The number type is the task's: by default trl computes in bfloat16 even where the machine
    has to emulate it.
    """
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    clock = _Clock()
    tuned = SFTTrainer(
        _load(base),
        SFTConfig(**_arguments(task, out), bf16=_dtype() is torch.bfloat16),
        train_dataset=Dataset.from_list(_columns(task)),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=_lora(task),
        callbacks=[clock],
    )
    tuned.train()
    tuned.save_model(str(out))
    return clock.seconds


@torch.no_grad()
def loss(base: Path, adapter: Path, task: Task) -> float:
    """Return the mean loss of the task's tokens to learn, read the plain way for all."""
    plain = methods.load(base, task.recipe, "auto")
    model = PeftModel.from_pretrained(plain, str(adapter)).eval()
    reader = losses.Reader(model, [], int(plain.config.pad_token_id or 0), fast=False)
    ordered = sorted(task.examples, key=lambda example: example.size)
    parts = [ordered[at : at + 8] for at in range(0, len(ordered), 8)]
    return float(torch.cat([reader.tokens(part)[0] for part in parts]).mean())


@dataclass
class _Clock(TrainerCallback):  # type: ignore[misc]
    began: float = 0
    ended: float = 0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def _load(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=_dtype())


def _dtype() -> torch.dtype:
    return causal.fast_dtype(causal.device())


def _lora(task: Task) -> LoraConfig:
    return LoraConfig(
        r=task.recipe.rank,
        lora_alpha=task.recipe.alpha,
        lora_dropout=task.recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(task: Task, out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out),
        "per_device_train_batch_size": task.recipe.batch_size // task.split,
        "gradient_accumulation_steps": task.split,
        "num_train_epochs": task.recipe.epochs,
        "learning_rate": task.recipe.learning_rate,
        "lr_scheduler_type": "linear",
        "seed": task.recipe.seed,
        "use_cpu": causal.device().type == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _columns(task: Task) -> list[dict[str, list[int]]]:
    return [
        {
            "input_ids": example.prompt + example.completion,
            "labels": [-100] * len(example.prompt) + example.completion,
        }
        for example in task.examples
    ]
