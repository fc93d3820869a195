"""Items of two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.evaluator.core import Item


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts over items that both models answered."""

    n: int
    candidate: int
    baseline: int
    wins: int
    losses: int

    def numbers(self) -> dict[str, float]:
        """Return them by name, as a check tells them."""
        return {
            "n": self.n,
            "candidate_right": self.candidate,
            "baseline_right": self.baseline,
            "wins": self.wins,
            "losses": self.losses,
        }


def both(
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    *,
    guard: bool | None,
    slice: str | None = None,
) -> list[tuple[Item, Item]]:
    """Return what both answered, by id; `guard` None takes probes and others.

    An item that stands in training rows of either is left out, unless it is a probe: those are
    asked because somebody may have taught them.
    """
    before = {item.id: item for item in baseline if counts(item)}
    return [
        (item, before[item.id])
        for item in sorted(candidate, key=lambda item: item.id)
        if counts(item)
        and guard in (None, item.guard)
        and item.id in before
        and slice in (None, item.slice)
    ]


def counts(item: Item) -> bool:
    """Tell whether an item may decide anything."""
    return item.graded and (item.guard or not item.leak)


def pair(
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    *,
    guard: bool | None,
    slice: str | None = None,
) -> Pairs:
    """Count over the items that both answered."""
    return count(both(candidate, baseline, guard=guard, slice=slice))


def count(items: Sequence[tuple[Item, Item]]) -> Pairs:
    """Count pairs of answers."""
    right = [(new.correct, old.correct) for new, old in items]
    return Pairs(
        n=len(right),
        candidate=sum(new for new, _ in right),
        baseline=sum(old for _, old in right),
        wins=sum(new and not old for new, old in right),
        losses=sum(old and not new for new, old in right),
    )


def group(item: Item) -> str:
    """Return what an item depends on: its source, or nothing but itself."""
    return f"g:{item.group}" if item.group else f"i:{item.id}"
