"""Checks that no statistics can buy off: answers for all, probes, leaks, harm to clean items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from imece.events import Check
from services.evaluator.core import Item
from services.evaluator.pairs import Pairs, pair
from services.evaluator.policy import ContaminationPolicy, GuardPolicy, Outcome
from services.evaluator.statistics.paired import sign_test


def complete(candidate: Sequence[Item], baseline: Sequence[Item]) -> Check:
    """Fail where only one model was asked."""
    one, other = {item.id for item in candidate}, {item.id for item in baseline}
    unpaired = len(one ^ other)
    outcome: Outcome = "failed" if unpaired else "passed"
    detail = f"{unpaired} items were answered by one model only, of {len(one | other)}"
    return Check(name="paired-items", outcome=outcome, detail=detail, numbers={"n": unpaired})


def unscored(candidate: Sequence[Item], baseline: Sequence[Item], most: float) -> list[Check]:
    """Say why items have no answer; without such items there is nothing to say."""
    lost = [item for item in (*candidate, *baseline) if item.unscored]
    if not lost:
        return []
    worst = max(
        sum(bool(item.unscored) for item in items) / max(1, len(items))
        for items in (candidate, baseline)
    )
    probes = sum(item.guard for item in lost)
    reasons = Counter(item.unscored for item in lost)
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    outcome: Outcome = "inconclusive" if worst > most or probes else "passed"
    detail = f"{len(lost)} answers are missing ({told}), {probes} of them to probes; evaluate again"
    numbers = {"share": worst, "allowed": most, "probes": float(probes)}
    return [Check(name="unscored", outcome=outcome, detail=detail, numbers=numbers)]


def guards(candidate: Sequence[Item], baseline: Sequence[Item], policy: GuardPolicy) -> list[Check]:
    """Hold the probes against the rules, all of them and slice by slice."""
    everything = pair(candidate, baseline, guard=True)
    if everything.n == 0:
        outcome: Outcome = "inconclusive" if policy.required else "passed"
        return [
            Check(
                name="guard", outcome=outcome, detail="the suites hold no guard probe", numbers={}
            )
        ]
    slices = sorted({item.slice for item in candidate if item.guard})
    each = [
        _guard(name, pair(candidate, baseline, guard=True, slice=name), policy) for name in slices
    ]
    return [_guard_accuracy(everything, policy), *each]


def _guard_accuracy(pairs: Pairs, policy: GuardPolicy) -> Check:
    share, before = pairs.candidate / pairs.n, pairs.baseline / pairs.n
    good = share >= policy.min_accuracy and share >= before - policy.margin
    detail = (
        f"{pairs.candidate} of {pairs.n} probes right ({share:.0%}); needed are"
        f" {policy.min_accuracy:.0%} and no more than {policy.margin:.0%} below the baseline's"
        f" {before:.0%}"
    )
    numbers = pairs.numbers() | {"accuracy": share, "baseline": before}
    return Check(
        name="guard", outcome="passed" if good else "failed", detail=detail, numbers=numbers
    )


def _guard(name: str, pairs: Pairs, policy: GuardPolicy) -> Check:
    harm = sign_test(pairs.wins, pairs.losses) if pairs.losses > pairs.wins else 1.0
    allowed = math.floor(policy.max_flip_share * pairs.n)
    good = pairs.losses <= allowed and harm >= policy.alpha
    detail = (
        f"{pairs.losses} of {pairs.n} probes flipped from right to wrong, {pairs.wins} the other"
        f" way; {allowed} may flip; one-sided sign test for harm p = {harm:.3g}"
    )
    numbers = pairs.numbers() | {"allowed": allowed, "p": harm}
    return Check(
        name=f"guard:{name}"[:200],
        outcome="passed" if good else "failed",
        detail=detail,
        numbers=numbers,
    )


def unharmed(pairs: Pairs, alpha: float) -> Check:
    """Fail where clean items got worse, beyond chance."""
    p = sign_test(pairs.wins, pairs.losses)
    harmed = pairs.losses > pairs.wins and p < alpha
    return Check(
        name="clean",
        outcome="failed" if harmed else "passed",
        detail=(
            f"without probes {pairs.candidate} of {pairs.n} right, baseline {pairs.baseline};"
            f" one-sided sign test for harm p = {p:.3g}"
        ),
        numbers=pairs.numbers() | {"p": p},
    )


def contaminated(
    candidate: Sequence[Item], baseline: Sequence[Item], policy: ContaminationPolicy
) -> Check:
    """Name the items that a model was trained on; fail where they are too many."""
    asked = {item.id for item in candidate if not item.guard}
    leaks = {item.id: item.leak for item in (*baseline, *candidate) if item.leak and not item.guard}
    share = len(leaks) / max(1, len(asked))
    first = "; ".join(f"{id} in row {leak}" for id, leak in sorted(leaks.items())[:3])
    detail = (
        f"{len(leaks)} of {len(asked)} items stand in training rows and count for nothing"
        f" ({policy.max_share:.1%} may)"
    )
    return Check(
        name="contamination",
        outcome="failed" if share > policy.max_share else "passed",
        detail=f"{detail}: {first}" if leaks else detail,
        numbers={"contaminated": len(leaks), "n": len(asked), "share": share},
    )
