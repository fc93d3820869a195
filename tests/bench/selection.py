"""Rows of model selection, for `tests.bench.evaluation`: what a comparison has to get right."""

from __future__ import annotations

import time
from collections.abc import Mapping

from imece.selection.catalogue import Model, load
from imece.selection.core import Comparison, UseCase, compare
from tests.bench.results import Row

WEIGHTS: Mapping[str, float] = {
    "quality": 0.4,
    "speed": 0.2,
    "context": 0.1,
    "training_data": 0.1,
    "license": 0.1,
    "adaptability": 0.1,
}
REQUIREMENTS: tuple[dict[str, object], ...] = (
    {"open_weights": True},
    {"commercial": ["yes"]},
    {"adaptability": ["full", "lora"]},
    {"training_data": ["open", "described"]},
    {"licenses_refused": ["Gemma Terms of Use"]},
    {"families_refused": ["openai"]},
    {"max_parameters": 10},
    {"max_memory_gb": 24},
    {"min_context": 32768},
    {"min_quality": 70},
    {"max_price": 5},
)


def rows() -> list[Row]:
    """Return how much is known, whether turning points hold, and whether a run repeats itself."""
    models = load()
    began = time.perf_counter()
    found = compare(models, _case(WEIGHTS))
    seconds = time.perf_counter() - began
    sourced = sum(bool(f.source and f.date) for m in models for f in m.facts.values())
    facts = sum(len(model.facts) for model in models)
    alone = [_excludes(models, need) for need in REQUIREMENTS]
    turning = [_turns(models, found, name) for name in WEIGHTS]
    checked = [each for each in turning if each is not None]
    again = compare(models, _case(WEIGHTS)) == found
    return [
        Row("P1.models", float(len(models)), "models", ">= 30", len(models) >= 30),
        Row("P1.sourced", sourced / facts, "share", "1", sourced == facts, note=f"{facts} facts"),
        Row("P1.requirements", sum(alone) / len(alone), "share", "1", all(alone)),
        Row("P1.turns", sum(checked) / len(checked), "share", "1", all(checked)),
        Row("P1.repeats", float(again), "share", "1", again),
        Row("P1.seconds", seconds, "s", note=f"{len(models)} models, 1,000 weight draws"),
    ]


def _case(weights: Mapping[str, float], **require: object) -> UseCase:
    body = {"name": "bench", "weights": dict(weights), "require": require}
    return UseCase.model_validate(body)


def _excludes(models: list[Model], need: dict[str, object]) -> bool:
    """A requirement alone excludes some models, each with a reason, and leaves some."""
    found = compare(models, _case(WEIGHTS, **need), draws=0)
    return bool(found.ranked) and bool(found.excluded) and all(found.excluded.values())


def _turns(models: list[Model], found: Comparison, name: str) -> bool | None:
    """Whether the told weight is where the winner changes; None when none was told."""
    for turn in found.turns:
        rival, _, rest = turn.partition(f" wins if {name} weighs ")
        if not rest or float(rest[2:]) in (0.0, 1.0):
            continue
        up, at = rest[0] == ">", float(rest[2:])
        for weight, winner in (
            (at + (0.01 if up else -0.01), rival),
            (at - (0.01 if up else -0.01), found.ranked[0].model.name),
        ):
            scaled = {k: v / (1 - WEIGHTS[name]) * (1 - weight) for k, v in WEIGHTS.items()}
            scaled[name] = weight
            again = compare(models, _case(scaled), draws=0)
            if again.ranked[0].model.name != winner:
                return False
        return True
    return None
