"""A search for good hyper-parameters: what to try, and what the best of it was."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from imece.events.base import Count, Name, Part, ShortText

R = TypeVar("R", "FloatRange", "IntRange")
Value = bool | int | float | ShortText
Trials = Annotated[int, Field(ge=2, le=1000)]


class FloatRange(Part):
    """Any number from `low` to `high`; `log` searches orders of magnitude alike."""

    kind: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        return _ordered(self)


class IntRange(Part):
    """Any whole number from `low` to `high`, both included."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> IntRange:
        return _ordered(self)


class Choices(Part):
    """One of some values."""

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=100)]


Dimension = Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")]


class Sweep(Part):
    """Try recipes that differ in the fields named in `space`; the least `metric` is the best.

    `metric` is one that a trained adapter has. Trials that do worse than the median at the same
    place of their run are stopped where `prune` is set.
    """

    space: Annotated[dict[Name, Dimension], Field(min_length=1, max_length=16)]
    trials: Trials = 10
    parallel: Annotated[int, Field(ge=1, le=100)] = 1
    metric: Name = "final_loss"
    prune: bool = True
    seed: Count = 0


class Trial(Part):
    """One recipe that was tried; `value` is its metric, none when it has none."""

    job: Name
    parameters: dict[Name, Value]
    state: Literal["succeeded", "failed", "cancelled"]
    value: float | None = None


class Study(Part):
    """How a sweep went; `best` are its best trials, the announced one first."""

    study: Name
    metric: Name
    succeeded: Count
    pruned: Count
    failed: Count
    best: Annotated[tuple[Trial, ...], Field(min_length=1, max_length=50)]


def _ordered(found: R) -> R:
    if found.low > found.high:
        raise ValueError(f"low {found.low} is above high {found.high}")
    if found.log and found.low <= 0:
        raise ValueError("a logarithmic range starts above 0")
    return found
