"""Secondary metrics of a policy: none of them promotes, and harm to one rejects; Holm over all."""

from __future__ import annotations

from collections.abc import Sequence

from imece.events import Check
from services.evaluator.core import Item
from services.evaluator.pairs import both, group
from services.evaluator.policy import Outcome, SecondaryPolicy
from services.evaluator.statistics.paired import Difference, difference, holm

_LOWER_IS_BETTER = frozenset({"ter"})


def secondary(
    candidate: Sequence[Item], baseline: Sequence[Item], policy: SecondaryPolicy
) -> list[Check]:
    """Compare each metric over the items (no probes) for which both models have it.

    A loss that is shown fails. A metric with fewer than `smallest` groups is a doubt, since a
    policy that names it wants it measured; it still counts in Holm's number.
    """
    pairs = both(candidate, baseline, guard=False)
    found = {str(name): _compared(pairs, name) for name in policy.metrics}
    p_values = {
        name: 1.0 if shift is None or shift.clusters < policy.smallest else shift.p
        for name, shift in found.items()
    }
    adjusted = holm(p_values)
    return [_check(name, shift, adjusted[name], policy) for name, shift in found.items()]


def value(item: Item, metric: str) -> float | None:
    """Return what an item scores, higher is better; None where it was not asked for.

    `cosine` means the grams or whichever encoder took their place.
    """
    if metric == "exact":
        return float(item.exact)
    if metric == "strict":
        return float(item.strict)
    for name, score in item.scores.items():
        if name.partition("@")[0] == metric:
            return -score if metric in _LOWER_IS_BETTER else score
    return None


def _compared(pairs: Sequence[tuple[Item, Item]], metric: str) -> Difference | None:
    new, old, groups = [], [], []
    for item, before in pairs:
        mine, other = value(item, metric), value(before, metric)
        if mine is not None and other is not None:
            new.append(mine)
            old.append(other)
            groups.append(group(item))
    return difference(new, old, groups) if groups else None


def _check(metric: str, found: Difference | None, p: float, policy: SecondaryPolicy) -> Check:
    name = f"secondary:{metric}"
    if found is None or found.clusters < policy.smallest:
        seen = 0 if found is None else found.clusters
        detail = (
            f"{seen} groups of items have {metric} of both models, the policy asks for"
            f" {policy.smallest}; ask for it in the suite, or take it out of the policy"
        )
        numbers = {"groups": float(seen), "needed": float(policy.smallest)}
        return Check(name=name, outcome="inconclusive", detail=detail, numbers=numbers)
    shown = p < policy.alpha
    told = "no difference shown"
    if shown:
        told = "better" if found.value > 0 else "worse"
    outcome: Outcome = "failed" if told == "worse" else "passed"
    turned = " (sign turned: lower is better)" if metric in _LOWER_IS_BETTER else ""
    detail = (
        f"{told}: {found.value:+.4f}{turned} over {found.n} items in {found.clusters} groups,"
        f" p = {p:.3g} ({found.method}, two-sided, Holm over {len(policy.metrics)});"
        " it may reject, it does not promote"
    )
    numbers = {"difference": found.value, "low": found.low, "high": found.high, "p": p}
    counts = {"n": float(found.n), "groups": float(found.clusters)}
    return Check(name=name, outcome=outcome, detail=detail, numbers=numbers | counts)
