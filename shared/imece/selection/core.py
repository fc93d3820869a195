"""From a use case to models that fit, those that nothing beats, and how firm the first place is."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imece.errors import RejectedError
from imece.selection.catalogue import Model

DRAWS = 1000
SPREAD = 20.0
"""Concentration of the weight draws around those of the use case: about +-0.1 each."""
CLEAR = 0.8
_STEPS: dict[str, dict[str, float]] = {
    "license": {"open": 1.0, "closed": 0.0},
    "commercial": {"yes": 1.0, "conditional": 0.5, "no": 0.0},
    "training_data": {"open": 1.0, "described": 0.5, "undisclosed": 0.0},
    "adaptability": {"full": 1.0, "lora": 0.7, "api": 0.4, "none": 0.0},
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Require(_Frozen):
    """What a model has to be; an unknown fact does not fulfil a requirement."""

    open_weights: bool = False
    commercial: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Accepted of yes, conditional, no."""
    adaptability: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    training_data: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    licenses_refused: tuple[str, ...] = ()
    families_refused: tuple[str, ...] = ()
    max_parameters: float | None = None
    """Billions."""
    max_memory_gb: float | None = None
    """For the weights alone, at `bytes_per_parameter`."""
    bytes_per_parameter: Annotated[float, Field(gt=0)] = 2
    min_context: float | None = None
    min_quality: float | None = None
    min_speed: float | None = None
    min_own: float | None = None
    max_price: float | None = None
    """Money a million tokens, at `written_share`."""


class UseCase(_Frozen):
    """What a model is for: requirements first, then weights for what is left."""

    name: str
    require: Require = Require()
    weights: Mapping[str, Annotated[float, Field(ge=0)]]
    written_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Share of written tokens, for the price."""


@dataclass(frozen=True)
class Criterion:
    """How a criterion is read from a model; None is unknown, more is better."""

    read: Callable[[Model, UseCase], float | None]
    fixed: bool = False
    """On a scale of its own from 0 to 1, not relative to the other candidates."""


@dataclass(frozen=True)
class Ranked:
    """One candidate: its score, its normalised criteria, and how often it wins."""

    model: Model
    score: float
    parts: Mapping[str, float | None]
    wins: float
    pareto: bool


@dataclass(frozen=True)
class Comparison:
    """The outcome for one use case."""

    use_case: UseCase
    ranked: tuple[Ranked, ...]
    excluded: Mapping[str, str]
    turns: tuple[str, ...]
    """From which weight on the winner is another."""

    @property
    def winner(self) -> str | None:
        """The first place, when it holds in at least 80 % of the draws."""
        first = self.ranked[0] if self.ranked else None
        return first.model.name if first and first.wins >= CLEAR else None


def load_use_case(path: Path) -> UseCase:
    """Read a use case; RejectedError says what is wrong with it."""
    try:
        case = UseCase.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "/".join(map(str, first["loc"]))
        raise RejectedError("bad_use_case", f"{path}: {where}: {first['msg']}", where) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RejectedError("bad_use_case", f"{path}: {error}") from error
    if unknown := set(case.weights) - set(CRITERIA):
        known = ", ".join(CRITERIA)
        raise RejectedError(
            "bad_use_case", f"{path}: there is no criterion {sorted(unknown)}, only {known}"
        )
    if sum(case.weights.values()) <= 0:
        raise RejectedError("bad_use_case", f"{path}: give at least one weight above 0")
    return case


def _step(name: str, fact: str | None = None) -> Criterion:
    def read(model: Model, _: UseCase) -> float | None:
        value = model.value(fact or name)
        return None if value is None else _STEPS[name][str(value)]

    return Criterion(read, fixed=True)


def _log(name: str, sign: int = 1) -> Criterion:
    def read(model: Model, _: UseCase) -> float | None:
        value = model.number(name)
        return None if not value else sign * math.log(value)

    return Criterion(read)


def price(model: Model, case: UseCase) -> float | None:
    """Return what a million tokens cost at the use case's share of written ones."""
    read, written = model.number("price_read"), model.number("price_written")
    if read is None or written is None:
        return None
    return read * (1 - case.written_share) + written * case.written_share


def _cheap(model: Model, case: UseCase) -> float | None:
    cost = price(model, case)
    return None if cost is None else -math.log(max(cost, 1e-3))


def _speed(model: Model, _: UseCase) -> float | None:
    """Measured tokens a second; else what the active parameters let expect: fewer are faster."""
    measured, active = model.number("speed"), model.number("active")
    if measured:
        return math.log(measured)
    return None if not active else math.log(EXPECTED_SPEED / active)


EXPECTED_SPEED = 400.0
"""Tokens a second that 1 billion active parameters are expected to write; only for scale."""
CRITERIA: Mapping[str, Criterion] = {
    "license": _step("license", "weights"),
    "commercial": _step("commercial"),
    "parameters": _log("parameters"),
    "small": _log("parameters", -1),
    "speed": Criterion(_speed),
    "training_data": _step("training_data"),
    "quality": Criterion(lambda model, _: model.number("quality")),
    "adaptability": _step("adaptability"),
    "context": _log("context"),
    "price": Criterion(_cheap),
    "own": Criterion(lambda model, _: model.number("own")),
}
"""The seven criteria of the article (parameters both ways), context, price and own evaluation."""


def unfit(model: Model, case: UseCase) -> str | None:
    """Say which requirement `model` does not meet; None when it meets all."""
    need = case.require
    words = (
        ("weights", ("open",) if need.open_weights else None),
        ("commercial", need.commercial),
        ("adaptability", need.adaptability),
        ("training_data", need.training_data),
    )
    for name, accepted in words:
        value = model.value(name)
        if accepted is not None and value not in accepted:
            return f"{name} is {value or 'unknown'}, not {' or '.join(accepted)}"
    if model.value("license") in need.licenses_refused:
        return f"the licence {model.value('license')} is refused"
    if model.family in need.families_refused:
        return f"the family {model.family} is refused"
    return _out_of_bounds(model, case)


def _out_of_bounds(model: Model, case: UseCase) -> str | None:
    need, parameters = case.require, model.number("parameters")
    memory = None if parameters is None else parameters * need.bytes_per_parameter
    bounds = (
        ("parameters", parameters, None, need.max_parameters),
        ("memory of the weights in GB", memory, None, need.max_memory_gb),
        ("context", model.number("context"), need.min_context, None),
        ("quality", model.number("quality"), need.min_quality, None),
        ("speed", model.number("speed"), need.min_speed, None),
        ("own evaluation", model.number("own"), need.min_own, None),
        ("price", price(model, case), None, need.max_price),
    )
    for name, value, low, high in bounds:
        if low is None and high is None:
            continue
        if value is None:
            return f"{name} is unknown"
        if low is not None and value < low:
            return f"{name} is {value:g}, below {low:g}"
        if high is not None and value > high:
            return f"{name} is {value:g}, above {high:g}"
    return None


def compare(
    models: Sequence[Model], case: UseCase, draws: int = DRAWS, seed: int = 1
) -> Comparison:
    """Rank the models that fit, by weights; unknown counts nothing, and anything in the draws."""
    excluded = {m.name: why for m in models if (why := unfit(m, case)) is not None}
    fit = [model for model in models if model.name not in excluded]
    names = [name for name, weight in case.weights.items() if weight > 0]
    parts = _normalised(fit, case, names)
    weights = _shares([case.weights[name] for name in names])
    scores = [_score(row, weights) for row in parts]
    wins = _wins(parts, weights, draws, random.Random(seed))
    ranked = [
        Ranked(
            model,
            score,
            dict(zip(names, row, strict=True)),
            won / draws if draws else 0.0,
            not any(_beats(other, row) for other in parts),
        )
        for model, score, row, won in zip(fit, scores, parts, wins, strict=True)
    ]
    ranked.sort(key=lambda each: (-each.score, each.model.name))
    return Comparison(case, tuple(ranked), excluded, tuple(_turns(ranked, names, weights)))


def _normalised(
    fit: Sequence[Model], case: UseCase, names: Sequence[str]
) -> list[list[float | None]]:
    columns = []
    for name in names:
        criterion = CRITERIA[name]
        raw = [criterion.read(model, case) for model in fit]
        known = [value for value in raw if value is not None]
        low, high = (min(known), max(known)) if known and not criterion.fixed else (0.0, 1.0)
        width = high - low
        columns.append([None if x is None else ((x - low) / width if width else 1.0) for x in raw])
    return [list(row) for row in zip(*columns, strict=True)] if fit else []


def _shares(weights: Sequence[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def _score(row: Sequence[float | None], weights: Sequence[float]) -> float:
    return sum((value or 0.0) * weight for value, weight in zip(row, weights, strict=True))


def _beats(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Tell whether `one` is known to be nowhere worse and somewhere better; unknown never is."""
    pairs = list(zip(one, other, strict=True))
    if any(a is None or b is None for a, b in pairs):
        return False
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return all(a >= b for a, b in known) and any(a > b for a, b in known)


def _wins(
    parts: Sequence[Sequence[float | None]],
    weights: Sequence[float],
    draws: int,
    chance: random.Random,
) -> list[int]:
    """Count who is first when weights move around theirs and unknowns may be anything."""
    wins = [0] * len(parts)
    for _ in range(draws if parts else 0):
        drawn = _shares([chance.gammavariate(SPREAD * w, 1) + 1e-12 for w in weights])
        scores = [
            sum(w * (chance.random() if x is None else x) for x, w in zip(row, drawn, strict=True))
            for row in parts
        ]
        wins[scores.index(max(scores))] += 1
    return wins


def _turns(ranked: Sequence[Ranked], names: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Say at which weight of each criterion the first place goes to another, all else scaled."""
    found = []
    for at, name in enumerate(names):
        for bound, text in ((1.0, ">"), (0.0, "<")):
            crossing = _crossing(ranked, names, weights, at, bound)
            # Who only draws level where nothing else counts never wins.
            if crossing is not None and abs(crossing[0] - bound) >= 5e-5:
                weight, rival = crossing
                digits = 2 if 0.005 <= weight < 0.995 else 4
                found.append(f"{rival} wins if {name} weighs {text} {weight:.{digits}f}")
    return found


def _crossing(
    ranked: Sequence[Ranked], names: Sequence[str], weights: Sequence[float], at: int, bound: float
) -> tuple[float, str] | None:
    """Return the weight nearest to today's, towards `bound`, at which a rival draws level."""
    if len(ranked) < 2 or len(names) < 2:
        return None
    now, name = weights[at], names[at]
    lines = []
    for each in ranked:
        part = each.parts[name] or 0.0
        rest = (each.score - now * part) / (1 - now) if now < 1 else 0.0
        lines.append((rest, part - rest))
    (start, slope), *rivals = lines
    nearest: tuple[float, str] | None = None
    for (other, steep), rival in zip(rivals, ranked[1:], strict=True):
        if math.isclose(steep, slope):
            continue
        weight = (start - other) / (steep - slope)
        ahead = now <= weight <= bound if bound > now else bound <= weight <= now
        if ahead and (nearest is None or abs(weight - now) < abs(nearest[0] - now)):
            nearest = (weight, rival.model.name)
    return nearest
