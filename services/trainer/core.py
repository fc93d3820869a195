"""Decisions of the trainer: what a good request is, what text a row holds, what was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imece.errors import RejectedError
from imece.events import (
    Document,
    Envelope,
    Instruction,
    ModelTrained,
    Record,
    TrainingRequested,
    derived_id,
)
from imece.runtime import bases

KINDS = frozenset({"document", "instruction"})
"""Kinds of rows that are text to learn from."""


def job_id(event: Envelope[TrainingRequested]) -> str:
    """Return the id of the job that `event` asks for; a redelivery gives the same."""
    return derived_id("training", event.source, event.id)


def check(request: TrainingRequested) -> None:
    """Raise RejectedError where no attempt could ever succeed, whatever the world looks like."""
    recipe = request.recipe
    if recipe.hidden % recipe.heads or recipe.hidden // recipe.heads % 2:
        raise RejectedError(
            "invalid_recipe",
            f"{recipe.hidden} hidden units cannot be shared by {recipe.heads} heads;"
            " each head needs an even number of them",
            "/recipe/heads",
        )
    bases.check(request.base, request.datasets)


def text(record: Record) -> str | None:
    """Return the text that `record` holds; a conversation is one turn after the other."""
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Instruction):
        turns = [turn.content for turn in record.history]
        return "\n".join([*turns, record.prompt, record.response])
    return None


def trained(job: str, stored: Mapping[str, Any], result: Mapping[str, Any]) -> ModelTrained:
    """Return the event that announces what `job` made for the request `stored`."""
    request = TrainingRequested.model_validate(stored, extra="ignore")
    return ModelTrained(
        model=request.model,
        job=job,
        uri=result["uri"],
        digest=result["digest"],
        datasets=request.datasets,
        recipe=request.recipe,
        base=request.base,
        base_digest=result.get("base_digest"),
        metrics=result["metrics"],
        losses=result["losses"],
    )
