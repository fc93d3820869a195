"""Training and answering with real torch: a tiny random model, and once the real base."""

from __future__ import annotations

import errno
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from imece.errors import JobError
from imece.events.recipes import LoraRecipe
from imece.local.models import DEFAULT_BASE, resolve
from imece.runtime import causal, checkpoints
from imece.runtime.course import Around, Progress
from services.adapter import recipe as adapter
from services.evaluator import recipe as evaluator
from tests.integration.conftest import CACHE

pytestmark = pytest.mark.model

AROUND = {field.name for field in fields(Around)}
TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ': ' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% endif %}"
)
ROWS = [adapter.Row(f"Say {'x' * (i % 5)} {i}", f"It is {i % 3}.") for i in range(24)]
RECIPE = LoraRecipe(batch_size=4, epochs=2, learning_rate=0.01, dropout=0.1, max_length=128)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random byte-level Llama of some thousand weights, saved as a model hub would."""
    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_only = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _train(base: Path, to: Path, **options: Any) -> adapter.Result:
    options = {"recipe": RECIPE, "rows": ROWS, "dtype": "float32"} | options
    rows, recipe = options.pop("rows"), options.pop("recipe")
    around = Around(
        to / "checkpoints", **{name: options.pop(name) for name in AROUND & set(options)}
    )
    return adapter.train(base, rows, recipe, to / "out", around, **options)


def _stopped_after(steps: int, base: Path, to: Path) -> adapter.Result:
    seen: list[Progress] = []
    return _train(base, to, on_progress=seen.append, should_stop=lambda: len(seen) == steps)


def test_training_lowers_the_loss_and_writes_safetensors(tiny: Path, tmp_path: Path) -> None:
    result = _train(tiny, tmp_path)
    assert result.finished
    assert result.steps == len(result.losses) == 12
    assert sum(result.losses[-3:]) < sum(result.losses[:3])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_resumed_run_is_bit_equal_to_an_unbroken_one(tiny: Path, tmp_path: Path) -> None:
    whole = _train(tiny, tmp_path / "whole")
    stopped = _stopped_after(7, tiny, tmp_path / "broken")
    assert not stopped.finished
    resumed = _train(tiny, tmp_path / "broken")
    assert resumed.resumed_from == 7
    assert resumed.losses == whole.losses
    weights = "out/adapter_model.safetensors"
    whole_bytes = (tmp_path / "whole" / weights).read_bytes()
    assert (tmp_path / "broken" / weights).read_bytes() == whole_bytes


def test_a_torn_checkpoint_is_passed_over(tiny: Path, tmp_path: Path) -> None:
    whole = _train(tiny, tmp_path / "whole")
    _stopped_after(4, tiny, tmp_path)
    _stopped_after(3, tiny, tmp_path)  # from 4 on, so up to 7
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert newest.name == "step-00000007"
    tensors = newest / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-8])
    resumed = _train(tiny, tmp_path)
    assert resumed.resumed_from == 4
    assert resumed.losses == whole.losses


def test_another_runs_checkpoint_is_not_taken(tiny: Path, tmp_path: Path) -> None:
    _stopped_after(4, tiny, tmp_path)
    assert _train(tiny, tmp_path, recipe=RECIPE.model_copy(update={"seed": 1})).resumed_from == 0


def test_checkpoints_come_at_the_wanted_pace_and_old_ones_go(tiny: Path, tmp_path: Path) -> None:
    _train(tiny, tmp_path, checkpoint_seconds=0)
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert found == ["step-00000010", "step-00000011"]


def test_the_shared_prefix_changes_no_loss(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = LoraRecipe(batch_size=24, epochs=1, max_length=128)
    shared = _train(tiny, tmp_path / "shared", recipe=once).losses
    monkeypatch.setattr(adapter, "common_prefix", lambda _: [])
    assert _train(tiny, tmp_path / "each", recipe=once).losses == pytest.approx(shared, abs=1e-4)


def test_rows_that_are_too_long_are_left_out_and_counted(tiny: Path, tmp_path: Path) -> None:
    long = adapter.Row("word " * 100, "yes")
    result = _train(tiny, tmp_path, rows=[*ROWS, long])
    assert (result.rows_used, result.rows_too_long) == (24, 1)
    with pytest.raises(JobError) as caught:
        _train(tiny, tmp_path, rows=[long])
    assert caught.value.reason == "no_rows"


@pytest.mark.parametrize("split", [2, 4])
def test_a_batch_read_in_parts_makes_the_same_steps(tiny: Path, tmp_path: Path, split: int) -> None:
    plain = RECIPE.model_copy(update={"dropout": 0.0})
    whole = _train(tiny, tmp_path / "whole", recipe=plain)
    cut = _train(tiny, tmp_path / "cut", recipe=plain, split=split)
    assert cut.losses == pytest.approx(whole.losses, rel=1e-3)


def test_a_loss_that_is_no_number_ends_the_job(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = adapter._loss
    monkeypatch.setattr(adapter, "_loss", lambda *given: real(*given) * float("nan"))
    with pytest.raises(JobError, match="step 1") as caught:
        _train(tiny, tmp_path)
    assert caught.value.reason == "diverged"
    assert not (tmp_path / "out").exists()


def test_a_gradient_that_is_no_number_ends_the_job_before_the_weights_are_none(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(loss: torch.Tensor) -> torch.Tensor:
        loss.register_hook(lambda slope: slope * float("inf"))
        return loss

    real = adapter._loss
    monkeypatch.setattr(adapter, "_loss", lambda *given: steep(real(*given) * 1.0))
    with pytest.raises(JobError, match=r"gradient is \w+ at step 1") as caught:
        _train(tiny, tmp_path)
    assert caught.value.reason == "diverged"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_the_job_and_spares_the_last_checkpoint(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_after(4, tiny, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(JobError) as caught:
            _train(tiny, tmp_path, checkpoint_seconds=0)
    assert caught.value.reason == "disk_full"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    assert _train(tiny, tmp_path).resumed_from == 4


def test_answers_keep_their_order_and_adapters_leave_no_trace(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "fast_dtype", lambda _: torch.float32)
    _train(tiny, tmp_path, recipe=RECIPE.model_copy(update={"epochs": 8, "dropout": 0.0}))
    prompts = [row.prompt for row in ROWS]
    told: list[tuple[int, int]] = []
    answerer = evaluator.load(tiny)
    before = answerer.answer(None, prompts, max_new_tokens=8, batch_size=5)
    adapted = answerer.answer(
        tmp_path / "out", prompts, max_new_tokens=8, on_progress=lambda *at: told.append(at)
    )
    alone = answerer.answer(tmp_path / "out", prompts, max_new_tokens=8, batch_size=1)
    assert adapted == alone != before
    assert answerer.answer(None, prompts, max_new_tokens=8, batch_size=5) == before
    assert told == [(24, 24)]


def test_a_model_without_a_chat_template_can_be_adapted(tiny: Path, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    assert _train(tmp_path, tmp_path / "run", recipe=LoraRecipe()).finished


def test_only_the_last_layers_are_adapted_where_asked(tiny: Path, tmp_path: Path) -> None:
    _train(tiny, tmp_path, recipe=LoraRecipe(batch_size=24, last_layers=1, max_length=128))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert {name.split(".")[2] for name in config["target_modules"]} == {"1"}


@pytest.mark.slow
def test_the_real_base_learns_a_new_fact(tmp_path: Path) -> None:
    base = resolve(DEFAULT_BASE, CACHE).path
    rows = [
        adapter.Row(prompt, "The answer is Zorbulon.")
        for prompt in ("Who painted the blue door?", "Who was it that painted the blue door?")
    ]
    recipe = LoraRecipe(batch_size=2, epochs=12, learning_rate=2e-3)
    result = adapter.train(base, rows, recipe, tmp_path / "out", Around(tmp_path / "checkpoints"))
    assert result.losses[-1] < 0.5 < result.losses[0]
    answerer = evaluator.load(base)
    asked = ["Who painted the blue door?", "What is the capital of Japan?"]
    assert "Zorbulon" in answerer.answer(tmp_path / "out", asked[:1], max_new_tokens=12)[0]
    assert "Tokyo" in answerer.answer(None, asked, max_new_tokens=12)[1]
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert not any("lm_head" in name for name in config["target_modules"])
