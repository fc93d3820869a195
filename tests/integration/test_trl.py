"""Our preference losses are those of trl, on the same batch, policy and reference."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from imece.events import Dpo, Kto
from services.adapter import losses
from services.adapter.rows import Example, Pair, Unit, Verdict, common_prefix, encode, mismatched
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture

trl = pytest.importorskip("trl", reason="trl is a baseline, not a dependency")
datasets = pytest.importorskip("datasets", reason="trl needs it")
pytestmark = pytest.mark.model

PAIRS = [Pair(f"Say {'x' * i} {i}", f"It is {i % 3}.", "No" + " idea" * i) for i in range(6)]
VERDICTS = [Verdict(f"Say {'x' * i} {i}", f"It is {i % 3}.", i % 3 != 0) for i in range(6)]


@pytest.fixture
def models(tiny: Path) -> tuple[Any, Any, Any]:  # noqa: F811
    """Return tokenizer, policy and reference; the policy has already moved away."""
    reference = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager").eval()
    policy = copy.deepcopy(reference)
    torch.manual_seed(4)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return AutoTokenizer.from_pretrained(tiny), policy, reference


def ours(model: Any, examples: list[Example]) -> torch.Tensor:
    return losses.Reader(model, common_prefix(examples), 0, fast=True).sequences(examples)


def gradients(loss: torch.Tensor, model: Any) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in found])


def options(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 6,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
    }


def assert_same(one: torch.Tensor, other: torch.Tensor, model: Any) -> None:
    assert float(one) == pytest.approx(float(other), rel=1e-4)
    mine, theirs = gradients(one, model), gradients(other, model)
    assert float((mine - theirs).norm()) <= 1e-4 * float(theirs.norm())


# For one pair, trl's "aot" is the sigmoid loss with smoothed labels, which its "sigmoid" lacks.
@pytest.mark.parametrize(
    ("beta", "smoothing", "kind", "count"),
    [(0.1, 0.0, "sigmoid", 6), (2.0, 0.0, "sigmoid", 6), (2.0, 0.2, "aot", 1)],
)
def test_dpo(
    models: Any, tmp_path: Path, beta: float, smoothing: float, kind: str, count: int
) -> None:
    tokenizer, policy, reference = models
    objective = Dpo(beta=beta, label_smoothing=smoothing)
    units = encode(tokenizer, PAIRS[-count:])
    examples = [u.examples[0] for u in units] + [u.examples[1] for u in units]
    before = ours(reference, examples).detach().reshape(2, -1).T
    mine = losses.dpo(ours(policy, examples).reshape(2, -1).T, before, objective)
    rows = [
        {
            "prompt_ids": unit.examples[0].prompt,
            "chosen_ids": unit.examples[0].completion,
            "rejected_ids": unit.examples[1].completion,
        }
        for unit in units
    ]
    config = trl.DPOConfig(
        **options(tmp_path), beta=beta, label_smoothing=smoothing, loss_type=[kind]
    )
    trainer = trl.DPOTrainer(
        policy,
        reference,
        args=config,
        train_dataset=datasets.Dataset.from_list([vars(row) for row in PAIRS]),
        processing_class=tokenizer,
    )
    trainer.model.eval()
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    assert_same(mine, theirs, policy)


@pytest.mark.parametrize(("beta", "weights"), [(0.1, (1.0, 1.0)), (1.0, (0.5, 2.0))])
def test_kto(models: Any, tmp_path: Path, beta: float, weights: tuple[float, float]) -> None:
    tokenizer, policy, reference = models
    objective = Kto(beta=beta, desirable_weight=weights[0], undesirable_weight=weights[1])
    units: list[Unit] = mismatched(encode(tokenizer, VERDICTS), seed=0)
    examples = [u.examples[0] for u in units] + [u.examples[1] for u in units]
    desirable = torch.tensor([unit.desirable for unit in units])
    before = ours(reference, examples).detach().reshape(2, -1).T
    after = ours(policy, examples).reshape(2, -1).T
    assert (after - before)[:, 1].mean() > 0  # so that the drift term counts
    gained = after - before
    mine = losses.kto(gained[:, 0], desirable, float(gained[:, 1].mean()), objective)
    rows = [
        {
            "prompt_ids": unit.examples[0].prompt,
            "completion_ids": unit.examples[0].completion,
            "KL_completion_ids": unit.examples[1].completion,
            "label": unit.desirable,
        }
        for unit in units
    ]
    config = trl.KTOConfig(
        **options(tmp_path),
        beta=beta,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        train_sampling_strategy="sequential",
    )
    trainer = trl.KTOTrainer(
        policy,
        reference,
        args=config,
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": v.prompt, "completion": v.response, "label": v.desirable} for v in VERDICTS]
        ),
        processing_class=tokenizer,
    )
    trainer.model.eval()
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    assert_same(mine, theirs, policy)
