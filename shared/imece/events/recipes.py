"""Recipes: what a training does, as data that is checked before it becomes a job."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from imece.events.base import Count, Part

Rate = Annotated[float, Field(gt=0, le=1)]
Score = Annotated[float, Field(ge=0, le=1)]


class PretrainingRecipe(Part):
    """A tiny to small Llama-style causal LM trained from scratch with its own BPE tokenizer."""

    vocabulary: Annotated[int, Field(ge=300, le=200_000)] = 2048
    layers: Annotated[int, Field(ge=1, le=128)] = 4
    hidden: Annotated[int, Field(ge=16, le=16_384)] = 128
    heads: Annotated[int, Field(ge=1, le=128)] = 4
    context: Annotated[int, Field(ge=16, le=131_072)] = 128
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 200
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    learning_rate: Rate = 3e-3
    warmup: Score = 0.1
    seed: Count = 0


class Sft(Part):
    """Learn the answers: cross-entropy on the tokens of the response alone.

    `turns` of a conversation: its last answer, or every answer of the assistant.
    """

    kind: Literal["sft"] = "sft"
    turns: Literal["last", "all"] = "last"


class Dpo(Part):
    """Prefer the chosen response of a pair to the rejected one (sigmoid loss).

    `beta` is how close to the base the model stays; `label_smoothing` is the share of pairs that
    are taken to be the wrong way round.
    """

    kind: Literal["dpo"] = "dpo"
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0


class Kto(Part):
    """Learn from single verdicts: a desirable response gains, an undesirable one loses.

    A preference pair counts as one of each. The weights balance the two where one is rare.
    """

    kind: Literal["kto"] = "kto"
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    desirable_weight: Annotated[float, Field(ge=0, le=1000)] = 1
    undesirable_weight: Annotated[float, Field(ge=0, le=1000)] = 1


Objective = Annotated[Sft | Dpo | Kto, Field(discriminator="kind")]


class _Tuning(Part):
    """What every way of fine-tuning has in common."""

    objective: Objective = Sft()
    learning_rate: Rate = 2e-3
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    warmup: Score = 0.1
    max_length: Annotated[int, Field(ge=8, le=1_000_000)] = 512
    """Longer rows are left out and counted, never cut; the base's context is a limit too."""
    seed: Count = 0


class LoraRecipe(_Tuning):
    """Low-rank adapters: plain, rank-stabilised (rsLoRA), weight-decomposed (DoRA), or on a base
    held in four bits (QLoRA, which needs a CUDA device).
    """

    method: Literal["lora", "rslora", "dora", "qlora"] = "lora"
    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    alpha: Annotated[float, Field(gt=0, le=4096)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    last_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Adapt only the last so many blocks, which costs less; none means all."""


class Ia3Recipe(_Tuning):
    """IA³: a learned scale for each key, value and feed-forward channel."""

    method: Literal["ia3"]
    learning_rate: Rate = 5e-3


class PromptRecipe(_Tuning):
    """Learned tokens in front of the text: as embeddings, or as keys and values of each layer."""

    method: Literal["prompt", "prefix"]
    virtual_tokens: Annotated[int, Field(ge=1, le=4096)] = 16
    learning_rate: Rate = 1e-2


class FullRecipe(_Tuning):
    """The weights of the base move; what comes out is a whole model, not an adapter."""

    method: Literal["full"]
    learning_rate: Rate = 2e-5
    last_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Move the weights of the last so many blocks alone; the embeddings, the blocks below and the
    output head stay as they are. None means every weight."""


_CLASSES = {
    "lora": "lora",
    "rslora": "lora",
    "dora": "lora",
    "qlora": "lora",
    "ia3": "ia3",
    "prompt": "prompt",
    "prefix": "prompt",
    "full": "full",
}


def _class_of(recipe: Any) -> str:
    """Return the tag of the class that `recipe` is of; without a method it is LoRA."""
    if isinstance(recipe, dict):
        named = recipe.get("method", "lora")
    else:
        named = getattr(recipe, "method", None)
    return _CLASSES.get(named, str(named)) if isinstance(named, str) else "none"


AdaptationRecipe = Annotated[
    Annotated[LoraRecipe, Tag("lora")]
    | Annotated[Ia3Recipe, Tag("ia3")]
    | Annotated[PromptRecipe, Tag("prompt")]
    | Annotated[FullRecipe, Tag("full")],
    Discriminator(
        _class_of,
        custom_error_type="unknown_method",
        custom_error_message=f"method is none of {', '.join(_CLASSES)}",
    ),
]
