"""Checks by statistics: the safety bound, no slice worse by the margin, one proven advantage."""

from __future__ import annotations

from collections.abc import Sequence

from imece.events import Check
from services.evaluator.core import Item
from services.evaluator.pairs import both, count, group
from services.evaluator.policy import NonInferiorityPolicy, Outcome, SafetyPolicy, SuperiorityPolicy
from services.evaluator.statistics.intervals import clopper_pearson, upper_bound
from services.evaluator.statistics.margins import Shift, items_for_bound, items_for_margin, shift
from services.evaluator.statistics.paired import difference, holm, mcnemar, superiority_items

OTHERS = "others"
_Both = Sequence[tuple[Item, Item]]


def safe(candidate: Sequence[Item], policy: SafetyPolicy) -> list[Check]:
    """Bound the share of failed probes from above; a group of probes fails if one of it does."""
    probes = [item for item in candidate if item.guard and item.graded]
    if not probes:
        return []  # whether that may be is the guard's to say
    n = len({group(item) for item in probes})
    bad = len({group(item) for item in probes if not item.correct})
    upper = upper_bound(bad, n, policy.level)
    lower = clopper_pearson(bad, n, 2 * policy.level - 1)[0] if policy.level > 0.5 else 0.0
    numbers = {"n": n, "failed": bad, "upper": upper, "limit": policy.limit}
    detail = (
        f"{bad} of {n} probes failed; with {policy.level:.0%} confidence fewer than {upper:.1%} do,"
        f" and {policy.limit:.1%} may"
    )
    outcome: Outcome = "passed" if upper <= policy.limit else "inconclusive"
    if lower > policy.limit:
        outcome = "failed"
    elif outcome == "inconclusive":
        needed = items_for_bound(bad, n, policy.limit, policy.level)
        if needed is not None:
            numbers["needed"] = needed
            detail += f"; about {needed - n} more probes would settle a rate like this"
    return [Check(name="safety", outcome=outcome, detail=detail, numbers=numbers)]


def not_worse(
    candidate: Sequence[Item], baseline: Sequence[Item], policy: NonInferiorityPolicy
) -> list[Check]:
    """Ask of each slice without probes that it is not worse by the margin; Holm over the slices."""
    slices = _slices(both(candidate, baseline, guard=False), policy.smallest)
    shifts = {name: _shift(items) for name, items in slices.items()}
    bound = -policy.margin
    shown = holm({name: found.p_above(bound) for name, found in shifts.items()})
    harmed = holm({name: found.p_below(bound) for name, found in shifts.items()})
    checks = []
    for name, found in shifts.items():
        alpha = policy.alpha / len(shifts)
        outcome: Outcome = "passed" if shown[name] < policy.alpha else "inconclusive"
        if harmed[name] < policy.alpha:
            outcome = "failed"
        detail = (
            f"{found.value:+.1%} against the baseline over {found.n} items in {found.clusters}"
            f" groups; not worse by {policy.margin:.1%}: p = {shown[name]:.3g},"
            f" worse by more: p = {harmed[name]:.3g} (one-sided, Holm over {len(shifts)})"
        )
        numbers = _numbers(slices[name], found) | {"p": shown[name], "p_harm": harmed[name]}
        if outcome == "inconclusive":
            needed = items_for_margin(found, policy.margin, alpha, policy.power)
            numbers["needed"] = needed
            detail += f"; about {needed - found.n} more items would settle it for an equal model"
        checks.append(
            Check(name=f"not-worse:{name}"[:200], outcome=outcome, detail=detail, numbers=numbers)
        )
    return checks


def _slices(items: _Both, smallest: int) -> dict[str, list[tuple[Item, Item]]]:
    found: dict[str, list[tuple[Item, Item]]] = {}
    for each in items:
        found.setdefault(each[0].slice, []).append(each)
    small = sorted(name for name, group in found.items() if len(group) < smallest)
    if len(small) > 1:
        found[OTHERS] = [each for name in small for each in found.pop(name)]
    return dict(sorted(found.items()))


def _shift(items: _Both) -> Shift:
    return shift(
        [new.correct for new, _ in items],
        [old.correct for _, old in items],
        [group(new) for new, _ in items],
    )


def _numbers(items: _Both, found: Shift) -> dict[str, float]:
    return count(items).numbers() | {
        "difference": found.value,
        "se": found.se,
        "groups": found.clusters,
    }


def superior(
    candidate: Sequence[Item], baseline: Sequence[Item], policy: SuperiorityPolicy
) -> Check:
    """Test once whether the candidate is better; an advantage not shown is a doubt, no failure."""
    items = both(candidate, baseline, guard=None if policy.items == "all" else False)
    pairs = count(items)
    p, told, numbers = _advantage(items, policy)
    shown = pairs.wins > pairs.losses and p < policy.alpha
    detail = (
        f"{pairs.candidate} of {pairs.n} right, baseline {pairs.baseline}; {pairs.wins} better and"
        f" {pairs.losses} worse; {told} p = {p:.3g}"
    )
    if not shown:
        needed = superiority_items(pairs.wins, pairs.losses, pairs.n, policy.alpha, policy.power)
        if needed is None:
            detail += "; no advantage was seen"
        else:
            needed = max(pairs.n + 1, round(needed * numbers.get("spread", 1.0)))
            numbers["needed"] = needed
            detail += f"; about {needed - pairs.n} more items would settle an advantage like this"
    outcome: Outcome = "passed" if shown else "inconclusive"
    return Check(
        name="superiority",
        outcome=outcome,
        detail=detail,
        numbers=pairs.numbers() | {"p": p} | numbers,
    )


def _advantage(items: _Both, policy: SuperiorityPolicy) -> tuple[float, str, dict[str, float]]:
    """Return the two-sided p-value, how it was found, and what else is to tell."""
    groups = [group(new) for new, _ in items]
    if policy.test is None or len(set(groups)) == len(groups):
        pairs = count(items)
        return mcnemar(pairs.wins, pairs.losses), "exact McNemar", {}
    new, old = ([float(item.correct) for item in side] for side in zip(*items, strict=True))
    found = difference(new, old, groups)
    numbers = {"groups": float(found.clusters), "spread": _shift(items).spread}
    if found.clusters > 1:  # one group says nothing about spread, and an event holds no infinity
        numbers |= {"low": found.low, "high": found.high}
    return found.p, f"{found.method} over {found.clusters} groups,", numbers
