"""Ask both models what the second gate wants to know because of the candidate's data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from imece.events import DatasetRef
from imece.runtime import datasets
from imece.runtime.artifacts import Artifacts
from services.evaluator import probes, taught
from services.evaluator.core import Question
from services.evaluator.probes import Clean, Probe
from services.evaluator.second import SecondPolicy
from services.evaluator.taught import Lesson

KINDS = frozenset({"instruction", "preference", "labelled", "rated"})
Say = Callable[[str, Sequence[str]], list[str]]
"""Answers of the model that plays a part ("items" or "baseline") to prompts."""


def lessons(artifacts: Artifacts, refs: Iterable[Mapping[str, Any]]) -> list[Lesson]:
    """Return what the training rows of data sets teach, and what was taken out of them."""
    found = []
    for each in refs:
        ref = DatasetRef.model_validate(each, extra="ignore")
        for gone in (False, True):
            rows = datasets.read(artifacts, ref, KINDS, "train", taken_out=gone)
            found += [taught.lesson(r.row_id, r.origin, r.record, revoked=gone) for r in rows]
    return [each for each in found if each is not None]


def wanted(
    known: Sequence[Lesson], suites: Iterable[Question], policy: SecondPolicy
) -> list[Probe]:
    """Return the unanswered probes; clean questions are those of the suites that are generated."""
    clean = [
        Clean(q.asked, q.expected)
        for q in suites
        if q.scoring == "generation" and not q.guard and not q.labels
    ]
    return probes.build(known, clean, policy)


def answered(asked: Sequence[Probe], say: Say) -> list[Probe]:
    """Return the probes with both models' answers."""
    prompts = [probe.prompt for probe in asked]
    said = zip(asked, say("items", prompts), say("baseline", prompts), strict=True)
    return [replace(probe, candidate=new, baseline=old) for probe, new, old in said]
