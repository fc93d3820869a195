"""A tiny model learns, resumes to the bit and loads in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from imece.errors import JobError
from imece.events.recipes import PretrainingRecipe
from imece.runtime.course import Around
from services.trainer import recipe
from tests.training import documents

TEXTS = [document.text for document in documents(60)]
UNSEEN = [document.text for document in documents(10, seed=1)]
TINY: dict[str, Any] = {
    "vocabulary": 330,
    "layers": 1,
    "hidden": 16,
    "heads": 2,
    "context": 16,
    "steps": 30,
    "batch_size": 4,
    "learning_rate": 1e-2,
}


def run(
    folder: Path,
    texts: list[str],
    stop_after: int = 10**9,
    base: recipe.Base | None = None,
    **fields: Any,
) -> recipe.Result:
    calls = iter(range(10**9))
    around = Around(folder / "checkpoints", should_stop=lambda: next(calls) >= stop_after)
    wanted = PretrainingRecipe(**{**TINY, **fields})
    return recipe.train(texts, UNSEEN, wanted, folder / "model", around, base=base)


def test_the_loss_falls_and_transformers_loads_the_model(tmp_path: Path) -> None:
    result = run(tmp_path, TEXTS)
    assert result.losses[-1] < result.losses[0] - 1
    assert result.validation_loss is not None
    assert result.validation_loss < result.losses[0]
    assert result.bits_per_byte is not None
    assert 0 < result.bits_per_byte < 8
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    inputs = tokenizer("ılık İzmir", return_tensors="pt")
    assert tokenizer.decode(inputs["input_ids"][0]) == "ılık İzmir"
    assert model.generate(**inputs, max_new_tokens=5).shape[1] > inputs["input_ids"].shape[1]
    suffixes = {path.suffix for path in (tmp_path / "model").iterdir()}
    assert suffixes == {".json", ".safetensors"}


def test_a_resumed_run_ends_with_the_same_weights_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", TEXTS)
    stopped = run(tmp_path / "halves", TEXTS, stop_after=11)
    assert (stopped.finished, stopped.steps) == (False, 11)
    assert not (tmp_path / "halves" / "model").exists()
    resumed = run(tmp_path / "halves", TEXTS)
    assert (resumed.resumed_from, resumed.losses) == (11, whole.losses)
    weights = [tmp_path / part / "model" / "model.safetensors" for part in ("whole", "halves")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_checkpoint_of_other_texts_is_not_resumed_from(tmp_path: Path) -> None:
    run(tmp_path, TEXTS, stop_after=5)
    assert run(tmp_path, TEXTS[:-1], steps=6).resumed_from == 0


def test_too_little_text_fails_by_name(tmp_path: Path) -> None:
    with pytest.raises(JobError) as raised:
        run(tmp_path, ["çay"], context=64)
    assert raised.value.reason == "too_little_text"


def test_a_run_without_unseen_text_has_no_validation_loss(tmp_path: Path) -> None:
    around = Around(tmp_path / "checkpoints")
    wanted = PretrainingRecipe(**{**TINY, "steps": 1})
    result = recipe.train(TEXTS, [], wanted, tmp_path / "model", around)
    assert (result.validation_loss, result.bits_per_byte) == (None, None)


@pytest.mark.parametrize("split", [2, 3, 4])
def test_a_batch_that_is_cut_makes_the_same_step(tmp_path: Path, split: int) -> None:
    wanted = PretrainingRecipe(**{**TINY, "steps": 6, "batch_size": 4})
    curves = []
    for parts in (1, split):
        around = Around(tmp_path / f"c{parts}", split=parts)
        curves.append(recipe.train(TEXTS, [], wanted, tmp_path / f"m{parts}", around).losses)
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_products_in_bfloat16_learn_alike_and_leave_float32_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(tmp_path / "plain", TEXTS)
    monkeypatch.setattr(recipe, "_mixes", lambda _: True)
    mixed = run(tmp_path / "mixed", TEXTS)
    assert mixed.losses != plain.losses
    assert mixed.losses == pytest.approx(plain.losses, rel=0.02)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mixed" / "model")
    assert model.dtype == torch.float32


def test_a_row_that_does_not_fit_alone_is_not_tried_again(tmp_path: Path) -> None:
    around = Around(tmp_path / "checkpoints", split=32)
    wanted = PretrainingRecipe(**{**TINY, "batch_size": 16})
    with pytest.raises(JobError, match="lower the context") as raised:
        recipe.train(TEXTS, [], wanted, tmp_path / "model", around)
    assert (raised.value.reason, raised.value.retry) == ("out_of_memory", False)


def test_a_base_is_trained_further_with_its_own_tokenizer(tmp_path: Path) -> None:
    first = run(tmp_path / "first", TEXTS)
    base = recipe.Base(tmp_path / "first" / "model", TINY["context"])
    other = [document.text for document in documents(60, seed=2)]
    further = run(tmp_path / "further", other, base=base, vocabulary=999, hidden=64, steps=20)
    assert further.losses[0] < first.losses[0] - 1
    assert (further.parameters, further.vocabulary) == (first.parameters, first.vocabulary)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        before = (base.folder / name).read_bytes()
        assert (tmp_path / "further" / "model" / name).read_bytes() == before


def test_a_continued_run_resumes_to_the_bit(tmp_path: Path) -> None:
    run(tmp_path / "first", TEXTS)
    base = recipe.Base(tmp_path / "first" / "model")
    whole = run(tmp_path / "whole", TEXTS, base=base)
    run(tmp_path / "halves", TEXTS, base=base, stop_after=11)
    resumed = run(tmp_path / "halves", TEXTS, base=base)
    assert (resumed.resumed_from, resumed.losses) == (11, whole.losses)
    weights = (tmp_path / part / "model" / "model.safetensors" for part in ("whole", "halves"))
    assert len({path.read_bytes() for path in weights}) == 1


def test_a_context_beyond_the_bases_fails_by_name(tmp_path: Path) -> None:
    run(tmp_path / "first", TEXTS, steps=1)
    with pytest.raises(JobError) as raised:
        run(tmp_path, TEXTS, base=recipe.Base(tmp_path / "first" / "model", 16), context=32)
    assert (raised.value.reason, raised.value.retry) == ("context_too_long", False)
