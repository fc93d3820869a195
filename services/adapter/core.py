"""Decisions of the adapter: what a good request is, what a row teaches, what was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imece.errors import RejectedError
from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    Envelope,
    Instruction,
    LabelledExample,
    ModelRef,
    PreferencePair,
    Record,
    derived_id,
)

KINDS = frozenset({"instruction", "preference", "labelled"})
"""Kinds of rows that teach an answer."""
_TRAINED = ("lora", "sft", "adapter")
SCHEMES = ("hf:", "wheel:", "file:///", "/")


def job_id(event: Envelope[AdaptationRequested]) -> str:
    """Return the id of the job that `event` asks for; a redelivery gives the same."""
    return derived_id("adaptation", event.source, event.id)


def check(request: AdaptationRequested) -> None:
    """Raise RejectedError where no attempt could ever succeed, whatever the world looks like."""
    if not request.base.startswith(SCHEMES):
        raise RejectedError(
            "unknown_base_scheme",
            f"base {request.base!r} has no known scheme; write hf:ORG/NAME@REV,"
            " wheel:NAME==VERSION or an absolute folder",
            "/base",
        )
    if (request.recipe.method, request.recipe.objective.kind, request.export) != _TRAINED:
        raise RejectedError(
            "unsupported_method", f"this adapter trains {', '.join(_TRAINED)} only", "/recipe"
        )
    digests = [ref.digest for ref in request.datasets]
    if len(set(digests)) < len(digests):
        raise RejectedError(
            "repeated_dataset",
            "a data set version is named twice, so its rows would count twice; name it once",
            "/datasets",
        )


def pair(record: Record) -> tuple[str, str] | None:
    """Return the (prompt, response) that `record` teaches; None where it teaches none alone.

    A response within a longer conversation makes no sense without it, so such rows are left out.
    """
    if isinstance(record, Instruction):
        return None if record.history else (record.prompt, record.response)
    if isinstance(record, PreferencePair):
        return record.prompt, record.chosen
    if isinstance(record, LabelledExample):
        return (record.text, record.label) if record.label else None
    return None


def trained(job: str, stored: Mapping[str, Any], result: Mapping[str, Any]) -> AdapterTrained:
    """Return the event that announces what `job` made for the request `stored`."""
    request = AdaptationRequested.model_validate(stored, extra="ignore")
    return AdapterTrained(
        model=request.model,
        job=job,
        ref=ModelRef(
            name=request.model,
            base=request.base,
            base_digest=result["base_digest"],
            adapter=result["uri"],
            adapter_digest=result["digest"],
        ),
        datasets=request.datasets,
        recipe=request.recipe,
        metrics=result["metrics"],
        losses=result["losses"],
        evaluation=request.evaluation,
    )
