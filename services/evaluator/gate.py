"""The promotion gate: a pure function of stored items, judgements and a policy.

In order: hard checks, the safety bound, no harm in any slice, one test of superiority, and no
harm to secondary metrics where the policy names some.
"""

from __future__ import annotations

from collections.abc import Sequence

from imece.events import Check, JudgementCompleted, ModelRef
from services.evaluator import hard, margins
from services.evaluator.blind import preference
from services.evaluator.core import Item, same_model
from services.evaluator.pairs import pair
from services.evaluator.policy import Outcome, Policy, Verdict
from services.evaluator.preferred import preferred
from services.evaluator.secondary import secondary

INFORMATIVE = "judge-preference"
"""A judge that is not calibrated may rank; this check never decides."""


def decide(
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    judgements: Sequence[JudgementCompleted],
    asked: int,
    policy: Policy,
) -> tuple[Verdict, tuple[Check, ...]]:
    """Return the verdict and all checks; `asked` is how many judgements were requested."""
    checks = _checks(candidate, baseline, policy)
    if policy.preference:
        checks.append(preferred(candidate, judgements, asked, policy.preference))
    else:
        checks.append(margins.superior(candidate, baseline, policy.superiority))
    if policy.secondary:
        checks += secondary(candidate, baseline, policy.secondary)
    verdict = verdict_of(checks)
    if asked and not policy.preference:
        checks.append(_judged(judgements, asked))
    return verdict, tuple(checks)


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return what checks add up to: one failure rejects, one doubt withholds."""
    outcomes = {check.outcome for check in checks}
    if "failed" in outcomes:
        return "reject"
    return "inconclusive" if "inconclusive" in outcomes else "promote"


def _checks(candidate: Sequence[Item], baseline: Sequence[Item], policy: Policy) -> list[Check]:
    checks = [hard.complete(candidate, baseline)]
    checks += hard.unscored(candidate, baseline, policy.max_unscored)
    if policy.contamination:
        checks.append(hard.contaminated(candidate, baseline, policy.contamination))
    checks += hard.guards(candidate, baseline, policy.guard)
    if policy.safety:
        checks += margins.safe(candidate, policy.safety)
    clean = pair(candidate, baseline, guard=False)
    checks.append(hard.unharmed(clean, policy.superiority.alpha))
    if policy.non_inferiority:
        checks += margins.not_worse(candidate, baseline, policy.non_inferiority)
    return checks


def _judged(judgements: Sequence[JudgementCompleted], asked: int) -> Check:
    told = [preference(judgement) for judgement in judgements]
    counts = {name: told.count(name) for name in ("candidate", "baseline", "tie", "unscored")}
    missing = asked - len(told)
    better = counts["candidate"] > counts["baseline"]
    weak = any(judgement.weak for judgement in judgements)
    detail = (
        f"the {'weak ' if weak else ''}judge preferred the candidate {counts['candidate']} times,"
        f" the baseline {counts['baseline']}, neither {counts['tie']};"
        f" {counts['unscored']} unscored, {missing} not answered in time;"
        " it may rank, it does not decide"
    )
    numbers: dict[str, float] = {**counts, "missing": missing, "asked": asked}
    outcome: Outcome = "passed" if better else "inconclusive"
    return Check(name=INFORMATIVE, outcome=outcome, detail=detail, numbers=numbers)


def against_champion(
    verdict: Verdict, checks: tuple[Check, ...], baseline: ModelRef, current: ModelRef | None
) -> tuple[Verdict, tuple[Check, ...]]:
    """Withhold a promotion that was won against another model than the one in service."""
    if verdict != "promote" or current is None or same_model(baseline, current):
        return verdict, checks
    detail = (
        f"compared with {baseline.name}, but the champion is {current.name};"
        " evaluate against the champion"
    )
    return "inconclusive", (*checks, Check(name="champion", outcome="inconclusive", detail=detail))


def leaks_unknown(why: str) -> Check:
    """Say that nobody can tell whether the items stand in training rows."""
    detail = f"the training rows cannot be read, so leaks are unknown: {why}"
    return Check(name="training-rows", outcome="inconclusive", detail=detail[:10_000])


def unprobed(why: str) -> Check:
    """Say that the second gate could not ask what the feedback teaches."""
    detail = (
        f"what was learned from feedback could not be asked about: {why}; train or evaluate again"
    )
    return Check(name="probes", outcome="inconclusive", detail=detail[:10_000])
