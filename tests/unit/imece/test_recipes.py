"""Recipes come as data: what is not one is refused by name before it becomes a job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from imece import contracts
from imece.errors import ContractError
from imece.events import (
    AdaptationRequested,
    DatasetRef,
    Dpo,
    FullRecipe,
    Ia3Recipe,
    LoraRecipe,
    PromptRecipe,
    Sft,
    decode,
    encode,
    new,
)

REF = DatasetRef(dataset="facts", version=1, digest=f"sha256:{1:064x}", uri="file:///d/m.json")


def body(**recipe: Any) -> dict[str, Any]:
    return {"model": "m", "base": "/b", "datasets": [REF.model_dump()], "recipe": recipe}


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ({}, LoraRecipe),
        ({"rank": 4}, LoraRecipe),
        ({"method": "dora"}, LoraRecipe),
        ({"method": "rslora", "rank": 4}, LoraRecipe),
        ({"method": "qlora"}, LoraRecipe),
        ({"method": "ia3"}, Ia3Recipe),
        ({"method": "prefix", "virtual_tokens": 4}, PromptRecipe),
        ({"method": "prompt"}, PromptRecipe),
        ({"method": "full", "objective": {"kind": "dpo"}}, FullRecipe),
    ],
)
def test_a_method_has_its_own_recipe_and_survives_the_wire(
    recipe: dict[str, Any], kind: type[Any]
) -> None:
    asked = AdaptationRequested.model_validate(body(**recipe))
    assert type(asked.recipe) is kind
    message = encode(new(asked, "test"))
    assert decode(AdaptationRequested, message.headers, message.key, message.value).data == asked


def test_a_request_of_before_means_what_it_meant() -> None:
    asked = AdaptationRequested.model_validate(body(rank=4))
    assert asked.recipe == LoraRecipe(rank=4)
    assert (asked.recipe.method, asked.recipe.objective, asked.export) == ("lora", Sft(), "adapter")


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ({"method": "magic"}, "unknown_method"),
        ({"method": 5}, "unknown_method"),
        ({"method": "services.adapter.recipe.train"}, "unknown_method"),
        ({"method": "full", "rank": 8}, "extra_forbidden"),
        ({"rnak": 8}, "extra_forbidden"),
        ({"learning_rate": float("nan")}, "finite_number"),
        ({"learning_rate": float("inf")}, "finite_number"),
        ({"learning_rate": 0}, "greater_than"),
        ({"learning_rate": "fast"}, "float_parsing"),
        ({"rank": 0}, "greater_than_equal"),
        ({"objective": {"kind": "ppo"}}, "union_tag_invalid"),
        ({"objective": {"kind": "sft", "beta": 1}}, "extra_forbidden"),
        ({"objective": {"kind": "dpo", "beta": float("nan")}}, "finite_number"),
    ],
)
def test_a_bad_recipe_is_refused_by_name(recipe: dict[str, Any], kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AdaptationRequested.model_validate(body(**recipe))
    assert [error["type"] for error in raised.value.errors()] == [kind]


def test_a_rate_that_is_no_number_is_refused_on_the_wire() -> None:
    message = encode(new(AdaptationRequested.model_validate(body()), "test"))
    value = json.dumps(body(learning_rate=float("nan"))).encode()
    with pytest.raises(ContractError):
        decode(AdaptationRequested, message.headers, message.key, value)


def test_an_object_that_becomes_a_choice_breaks_nothing_where_one_of_them_takes_it() -> None:
    old: dict[str, Any] = {"type": "object", "properties": {"rank": {"type": "integer"}}}
    other = {"type": "object", "properties": {"tokens": {"type": "integer"}}}
    assert contracts.breaks(old, {"oneOf": [other, old]}) == []
    assert contracts.breaks(old, {"oneOf": [other]}) == [
        "/: none of its alternatives takes what it took"
    ]


def test_objectives_are_told_apart() -> None:
    recipe = LoraRecipe.model_validate({"objective": {"kind": "dpo", "beta": 0.2}})
    assert recipe.objective == Dpo(beta=0.2)
