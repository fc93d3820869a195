"""The fused way through a model gives the plain way's loss and gradients, or says why not."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from imece.events import LoraRecipe
from services.adapter import losses, methods
from services.adapter.rows import Example, common_prefix

pytestmark = pytest.mark.model

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
LLAMAS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "all heads": lambda: LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_key_value_heads": 4})),
    "biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
}
RECIPES = {
    "lora": LoraRecipe(rank=4),
    "rslora": LoraRecipe(method="rslora", rank=8, alpha=8),
    "last layers": LoraRecipe(rank=4, last_layers=1),
}


def rows(shared: int, longest: int = 20, count: int = 5) -> list[Example]:
    """Return random examples of which the first tokens are the same."""
    chance = random.Random(f"{shared}/{longest}")

    def some(least: int) -> list[int]:
        return [chance.randrange(300) for _ in range(chance.randint(least, longest))]

    front = [chance.randrange(300) for _ in range(shared)]
    return [Example([*front, i, *some(1)], some(1)) for i in range(count)]


def learning(model: Any) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def adapted(make: Any, recipe: LoraRecipe, number: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = methods.adapt(make().to(number), recipe).to(number)
    for weight in learning(model).values():  # a new adapter's B is zero, and so is A's gradient
        torch.nn.init.normal_(weight, std=0.1)
    return model


def read(reader: losses.Reader, examples: list[Example]) -> tuple[torch.Tensor, Any]:
    names = learning(reader.model)
    loss, row = reader.tokens(examples)
    weight = 1 + row.float()  # so that a mix-up of rows shows
    slopes = torch.autograd.grad((loss * weight).mean(), list(names.values()))
    return loss.detach(), dict(zip(names, slopes, strict=True))


@pytest.mark.parametrize("shared", [0, 1, 7])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("make", LLAMAS.values(), ids=LLAMAS)
def test_loss_and_gradients_are_those_of_the_plain_way(
    make: Any, recipe: LoraRecipe, shared: int
) -> None:
    examples = rows(shared)
    prefix = common_prefix(examples)
    assert len(prefix) == shared
    model = adapted(make, recipe)
    same_as_plain(model, examples, prefix)


def same_as_plain(model: Any, examples: list[Example], prefix: list[int]) -> None:
    plain = read(losses.Reader(model, [], 0, fast=False), examples)
    fused = losses.fused(model, 0, examples, prefix)
    assert fused is not None
    loss, slopes = read(losses.Reader(model, prefix, 0, fast=True, fused=fused), examples)
    assert torch.allclose(loss, plain[0], rtol=1e-4, atol=1e-5)
    for name, slope in plain[1].items():
        assert float((slopes[name] - slope).norm()) <= 1e-4 * float(slope.norm()), name


def test_rows_longer_than_a_block_of_queries_are_read_as_the_plain_way_does() -> None:
    examples = rows(9, longest=170, count=4)
    assert max(e.size for e in examples) > 2 * 128
    same_as_plain(adapted(LLAMAS["llama"], RECIPES["lora"]), examples, common_prefix(examples))


def test_a_row_without_a_prompt_is_read_too() -> None:
    examples = [Example([], [5, 6, 7]), Example([1, 2], [3])]
    same_as_plain(adapted(LLAMAS["llama"], RECIPES["lora"]), examples, [])


def test_bfloat16_gradients_are_as_near_to_float32_as_those_of_the_plain_way() -> None:
    examples = rows(7)
    exact = adapted(LLAMAS["llama"], RECIPES["lora"]).to(torch.bfloat16).float()
    rounded = adapted(LLAMAS["llama"], RECIPES["lora"]).to(torch.bfloat16)
    fused = losses.fused(rounded, 0, examples, [])
    assert fused is not None
    _, wanted = read(losses.Reader(exact, [], 0, fast=False), examples)
    _, plain = read(losses.Reader(rounded, [], 0, fast=False), examples)
    _, found = read(losses.Reader(rounded, [], 0, fast=True, fused=fused), examples)

    def off(slopes: Any) -> float:
        return float(sum((slopes[n].float() - wanted[n]).norm() ** 2 for n in wanted)) ** 0.5

    assert off(found) <= 1.5 * off(plain)


def test_dropout_hides_inputs_of_the_adapters_alone_and_is_repeatable() -> None:
    model = adapted(LLAMAS["llama"], LoraRecipe(rank=4, dropout=0.5)).train()
    examples = rows(0)
    fused = losses.fused(model, 0, examples, [])
    assert fused is not None
    reader = losses.Reader(model, [], 0, fast=True, fused=fused)
    torch.manual_seed(1)
    first = read(reader, examples)
    again = read(reader, examples)
    torch.manual_seed(1)
    repeated = read(reader, examples)
    assert not torch.equal(first[0], again[0])
    assert torch.equal(first[0], repeated[0])
    assert all(torch.equal(first[1][name], repeated[1][name]) for name in first[1])
    for name, weight in learning(model).items():
        if "lora_B" in name:
            torch.nn.init.zeros_(weight)
    with torch.no_grad():
        assert torch.equal(reader.tokens(examples)[0], reader.tokens(examples)[0])


@pytest.mark.parametrize(
    ("make", "recipe"),
    [
        (lambda: GemmaForCausalLM(GemmaConfig(**SIZES, head_dim=8)), LoraRecipe(rank=4)),
        (LLAMAS["llama"], LoraRecipe(rank=4, method="dora")),
        (
            lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)),
            LoraRecipe(rank=4),
        ),
    ],
    ids=["another activation", "another adapter", "a window of attention"],
)
def test_what_is_not_supported_is_named_and_left_to_the_other_ways(
    make: Any, recipe: LoraRecipe
) -> None:
    model, examples = adapted(make, recipe), rows(3)
    with capture_logs() as told:
        assert losses.fused(model, 0, examples, common_prefix(examples)) is None
    assert [line["event"] for line in told] == ["adapter.not_fused"]
    assert told[0]["why"]


def test_the_bases_weights_stay_what_they_were() -> None:
    model = adapted(LLAMAS["biases"], RECIPES["lora"])
    before = {name: p.clone() for name, p in model.named_parameters()}
    examples = rows(3)
    for _ in range(2):  # the second time they lie side by side already
        assert losses.fused(model, 0, examples, common_prefix(examples)) is not None
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
