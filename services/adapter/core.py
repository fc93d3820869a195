"""Decisions of the adapter: what a good request is, what a row teaches, what was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imece.errors import JobError, RejectedError
from imece.events import (
    AdaptationRequested,
    AdapterTrained,
    Dpo,
    Envelope,
    Instruction,
    LabelledExample,
    ModelRef,
    PreferencePair,
    Rated,
    Record,
    Sft,
    derived_id,
)
from imece.events.recipes import Objective
from imece.runtime import bases
from imece.runtime.chat import Said
from services.adapter.rows import AnyRow, Pair, Row, Verdict

KINDS = frozenset({"instruction", "preference", "labelled", "rated"})
"""Kinds of rows that teach an answer."""
UNMERGEABLE = frozenset({"prompt", "prefix", "qlora"})


def job_id(event: Envelope[AdaptationRequested]) -> str:
    """Return the id of the job that `event` asks for; a redelivery gives the same."""
    return derived_id("adaptation", event.source, event.id)


def check(request: AdaptationRequested) -> None:
    """Raise RejectedError where no attempt could ever succeed, whatever the world looks like."""
    bases.check(request.base, request.datasets)
    if request.export == "merged" and request.recipe.method in UNMERGEABLE:
        raise RejectedError(
            "cannot_merge",
            f"what {request.recipe.method} learns cannot be merged into a base; export the adapter",
            "/export",
        )


def lessons(records: Sequence[Record], objective: Objective) -> list[AnyRow]:
    """Return what `records` teach towards `objective`; those that teach nothing alone are left out.

    JobError("mixed_kinds") where a record cannot be learnt from in that way at all.
    """
    if isinstance(objective, Sft):
        return [row for record in records for row in _answers(record, objective)]
    teach = _pairs if isinstance(objective, Dpo) else _verdicts
    found = [(record, teach(record)) for record in records]
    wrong = Counter(record.kind for record, rows in found if rows is None)
    if wrong:
        told = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(wrong.items()))
        raise JobError(
            "mixed_kinds",
            f"{objective.kind} cannot learn from {told} among {len(records)} rows; put what it"
            f" learns from into a data set of its own",
        )
    return [row for _, rows in found for row in rows or ()]


def _answers(record: Record, objective: Sft) -> Sequence[Row]:
    if isinstance(record, LabelledExample):
        return [Row(record.text, record.label)] if record.label else []
    answer = _wanted(record)
    if answer is None:
        return []
    prompt, response, said = answer
    rows = list(_turns([*said, ("user", prompt), ("assistant", response)]))
    return rows if objective.turns == "all" else rows[-1:]


def _wanted(record: Record) -> tuple[str, str, tuple[Said, ...]] | None:
    """Return a prompt, the answer that is wanted and what was said before them, if any is."""
    if isinstance(record, PreferencePair):
        return record.prompt, record.chosen, _said(record)
    if isinstance(record, Instruction) or (isinstance(record, Rated) and record.desirable):
        return record.prompt, record.response, _said(record)
    return None


def _said(record: Instruction | PreferencePair | Rated) -> tuple[Said, ...]:
    return tuple((turn.role, turn.content) for turn in record.history)


def _turns(said: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yield each answer with what was said before it."""
    for at in range(1, len(said)):
        if (said[at - 1][0], said[at][0]) == ("user", "assistant"):
            yield Row(said[at - 1][1], said[at][1], tuple(said[: at - 1]))


def _pairs(record: Record) -> Sequence[AnyRow] | None:
    if isinstance(record, PreferencePair):
        return [Pair(record.prompt, record.chosen, record.rejected, _said(record))]
    return None


def _verdicts(record: Record) -> Sequence[AnyRow] | None:
    if isinstance(record, Rated):
        return [Verdict(record.prompt, record.response, record.desirable, _said(record))]
    if isinstance(record, PreferencePair):
        good, bad = (record.chosen, True), (record.rejected, False)
        return [Verdict(record.prompt, *verdict, _said(record)) for verdict in (good, bad)]
    if isinstance(record, Instruction):
        return [Verdict(record.prompt, record.response, True, _said(record))]
    return None


def trained(job: str, stored: Mapping[str, Any], result: Mapping[str, Any]) -> AdapterTrained:
    """Return the event that announces what `job` made for the request `stored`."""
    request = AdaptationRequested.model_validate(stored, extra="ignore")
    if result.get("whole"):
        ref = ModelRef(name=request.model, base=result["uri"], base_digest=result["digest"])
    else:
        ref = ModelRef(
            name=request.model,
            base=request.base,
            base_digest=result["base_digest"],
            adapter=result["uri"],
            adapter_digest=result["digest"],
        )
    return AdapterTrained(
        model=request.model,
        job=job,
        ref=ref,
        datasets=request.datasets,
        recipe=request.recipe,
        base=request.base,
        metrics=result["metrics"],
        losses=result["losses"],
        evaluation=request.evaluation,
        without=request.without,
    )
