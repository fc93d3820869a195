"""Decisions of a sweep: is its space sound, what comes next, which trial was the best."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from imece.errors import RejectedError
from imece.events import AdaptationRecipe, AdaptationRequested, Choices, Study, Trial
from imece.events.sweeps import Dimension, Sweep
from imece.runtime.jobs import Job
from imece.runtime.jobs.model import TERMINAL
from services.adapter import core

TRIAL = "trial"
"""Key of a stored request: the study, the number and the parameters of a trial. No event has it."""
_RECIPE: TypeAdapter[AdaptationRecipe] = TypeAdapter(AdaptationRecipe)
PLACES = 20
_BEST = 50


@dataclass(frozen=True)
class Known:
    """One trial so far; `state` is that of its job."""

    job: str
    parameters: Mapping[str, Any]
    state: str
    value: float | None


@dataclass(frozen=True)
class Next:
    """What a study needs now."""

    start: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters of trials by their number."""
    prune: tuple[str, ...] = ()
    """Jobs that do worse than the others."""
    over: bool = False


def check(request: AdaptationRequested) -> None:
    """Raise RejectedError where a recipe from the search space could not be valid."""
    if request.sweep is None:
        return
    for name, dimension in request.sweep.space.items():
        for value in _edges(dimension):
            try:
                tried = recipe_of(request, {name: value})
            except (ValidationError, ValueError) as error:
                told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
                raise RejectedError(
                    "bad_search_space", f"{name}={value!r}: {told}", f"/sweep/space/{name}"
                ) from error
            core.check(request.model_copy(update={"recipe": tried}))


def recipe_of(request: AdaptationRequested, parameters: Mapping[str, Any]) -> AdaptationRecipe:
    """Return the recipe of a request with some of its fields replaced, validated again."""
    plain = request.recipe.model_dump(mode="json", exclude_none=True)
    unknown = sorted(set(parameters) - set(type(request.recipe).model_fields))
    if unknown:
        known = ", ".join(sorted(type(request.recipe).model_fields))
        raise ValueError(f"a {request.recipe.method} recipe has no {unknown[0]}; it has {known}")
    # Strictly: a whole number that a range of fractions may hit by chance is none.
    return _RECIPE.validate_json(json.dumps({**plain, **parameters}), strict=True)


@dataclass(frozen=True)
class NewTrial:
    """The job that a trial becomes."""

    job: str
    request: dict[str, Any]


def trial(
    study: str, request: AdaptationRequested, number: int, parameters: Mapping[str, Any]
) -> NewTrial:
    """Return the job of a study's trial; the same number is the same job."""
    recipe = recipe_of(request, parameters)
    asked = request.model_copy(update={"recipe": recipe, "sweep": None})
    stored = asked.model_dump(mode="json", exclude_none=True)
    mark = {"study": study, "number": number, "parameters": dict(parameters)}
    return NewTrial(f"{study}.{number:04d}", {**stored, TRIAL: mark})


def plan(sweep: Sweep, jobs: Sequence[Job], seen: Mapping[str, Mapping[int, float]]) -> Next:
    """Return what to start and what to prune; `seen` are losses of running trials by place."""
    running = [job for job in jobs if job.state not in TERMINAL]
    if not running and len(jobs) >= sweep.trials:
        return Next(over=True)
    room = min(sweep.parallel - len(running), sweep.trials - len(jobs))
    if room <= 0 and not (sweep.prune and running):
        return Next()
    from services.adapter import search  # takes Optuna a second, which only sweeps should pay

    tried = search.Tried(sweep, [trial_of(job, sweep) for job in jobs], _curves(jobs, seen))
    start = {len(jobs) + i: tried.ask() for i in range(max(0, room))}
    worse = [job.id for job in running if sweep.prune and tried.is_worse(job.id)]
    return Next(start, tuple(worse))


def trial_of(job: Job, sweep: Sweep) -> Known:
    """Return what is known of the trial that a job is."""
    metrics = (job.result or {}).get("metrics", {})
    return Known(job.id, job.request[TRIAL]["parameters"], job.state, metrics.get(sweep.metric))


def study_of(id: str, sweep: Sweep, jobs: Sequence[Job]) -> Study | None:
    """Return how a study went, None when no trial has the metric."""
    trials = [(job, trial_of(job, sweep)) for job in jobs]
    ranked = sorted(
        (pair for pair in trials if pair[1].state == "succeeded" and pair[1].value is not None),
        key=lambda pair: (pair[1].value, pair[0].id),
    )
    if not ranked:
        return None
    states = [job.state for job in jobs]
    return Study(
        study=id,
        metric=sweep.metric,
        succeeded=states.count("succeeded"),
        pruned=states.count("cancelled"),
        failed=states.count("failed"),
        best=tuple(
            Trial(job=job.id, parameters=known.parameters, state="succeeded", value=known.value)
            for job, known in ranked[:_BEST]
        ),
    )


def place(step: int, steps: int) -> int:
    """Return where in a run a step is, in twentieths, so that runs of any length compare."""
    return max(1, -(-PLACES * step // max(1, steps)))


def _curves(
    jobs: Sequence[Job], seen: Mapping[str, Mapping[int, float]]
) -> dict[str, Mapping[int, float]]:
    curves: dict[str, Mapping[int, float]] = dict(seen)
    for job in jobs:
        losses = (job.result or {}).get("losses", [])
        if losses:
            curves[job.id] = {place(step, losses[-1][0]): loss for step, loss in losses}
    return curves


def _edges(dimension: Dimension) -> Sequence[Any]:
    if isinstance(dimension, Choices):
        return dimension.values
    return dimension.low, dimension.high
