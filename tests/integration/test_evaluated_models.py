"""Which weights an evaluation asks: whole models of ours, and no adapter on a foreign base."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from imece.errors import JobError
from imece.events import LoraRecipe, ModelRef
from imece.local.models import folder_digest
from imece.runtime.artifacts import Artifacts
from imece.runtime.course import Around
from services.adapter import recipe as adapter
from services.evaluator import asking, recipe
from services.evaluator.settings import EvaluatorSettings
from tests.integration.test_recipe import RECIPE, ROWS, tiny  # noqa: F401 - a fixture
from tests.training import child_job

pytestmark = pytest.mark.model


def evaluation(artifacts: Artifacts, folder: Path) -> asking.Run:
    return asking.Run(
        child_job(folder / "job", {}),
        artifacts,
        folder / "cache",
        EvaluatorSettings(),
        [],
        0,
        time.monotonic(),
    )


@pytest.mark.parametrize("root", ["memory:///store", None])
def test_a_whole_model_is_read_from_the_store_by_its_manifest(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    root: str | None,
) -> None:
    artifacts = Artifacts(root or str(tmp_path / "store"))
    stored = artifacts.put_folder("models/1/1", tiny)
    ref = ModelRef(name="m", base=stored.uri, base_digest=stored.digest)
    run = evaluation(artifacts, tmp_path)
    path, digest = run._base(ref)
    assert digest == f"sha256:{folder_digest(path)}"
    assert (path / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()


def test_an_adapter_that_names_another_base_is_refused(tmp_path: Path) -> None:
    made_for = {"uri": "/other", "digest": f"sha256:{1:064x}"}
    (tmp_path / "imece.json").write_text(json.dumps({"base": made_for}))
    ref = ModelRef(name="m", base="/b", adapter="file:///a", adapter_digest=f"sha256:{2:064x}")
    asking._check_adapter(tmp_path, ref, made_for["digest"])
    with pytest.raises(JobError, match="/other") as raised:
        asking._check_adapter(tmp_path, ref, f"sha256:{3:064x}")
    assert (raised.value.reason, raised.value.retry) == ("adapter_for_another_base", False)


def test_an_adapter_of_another_shape_is_refused(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    lora = LoraRecipe.model_validate(RECIPE.model_dump() | {"epochs": 1})
    adapter.train(
        tiny, ROWS, lora, tmp_path / "out", Around(tmp_path / "checkpoints"), dtype="float32"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    other = recipe.load(tiny)
    other._model = LlamaForCausalLM(config).eval()
    with pytest.raises(JobError) as raised:
        other.answer(tmp_path / "out", ["x"], max_new_tokens=1)
    assert raised.value.reason == "adapter_for_another_base"
