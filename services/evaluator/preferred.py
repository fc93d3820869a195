"""The one advantage shown by a judge: only verdicts that a valid calibration covers count."""

from __future__ import annotations

from collections.abc import Sequence

from imece.events import Check, JudgementCompleted, derived_id
from imece.events.judgements import SUSPECTED_INJECTION
from services.evaluator.blind import preference
from services.evaluator.core import Item
from services.evaluator.pairs import group
from services.evaluator.policy import Outcome, PreferencePolicy
from services.evaluator.statistics.paired import difference, mcnemar, superiority_items

_VOTES = {"candidate": 1, "baseline": -1, "tie": 0}


def preferred(
    candidate: Sequence[Item],
    judgements: Sequence[JudgementCompleted],
    asked: int,
    policy: PreferencePolicy,
) -> Check:
    """Test whether the candidate's answers are preferred; to be shown worse fails.

    A pair with a suspected trick counts against the candidate, else tricks would hide losses.
    """
    told = [(each, vote) for each in judgements if (vote := _vote(each)) is not None]
    votes = [vote for _, vote in told]
    wins, losses = votes.count(1), votes.count(-1)
    p, how = _p_value(candidate, told)
    covered = len(told) / asked if asked else 0.0
    detail = (
        f"{len(told)} of {asked} verdicts are calibrated ({policy.covered:.0%} have to be): the"
        f" candidate preferred {wins} times, the baseline {losses}, neither {votes.count(0)};"
        f" {how} p = {p:.3g}"
    )
    numbers: dict[str, float] = {"asked": asked, "covered": covered, "n": len(told)}
    numbers |= {"wins": wins, "losses": losses, "p": p}
    outcome: Outcome = "inconclusive"
    if p < policy.alpha and losses > wins:
        outcome = "failed"
    elif covered < policy.covered or not asked:
        detail += "; ask for judgements (`judge_items`), and calibrate the judge against people"
    elif p < policy.alpha:
        outcome = "passed"
    elif (
        needed := superiority_items(wins, losses, len(told), policy.alpha, policy.power)
    ) is not None:
        numbers["needed"] = max(len(told) + 1, needed)
        detail += f"; about {numbers['needed'] - len(told):g} more would settle it"
    else:
        detail += "; no advantage was seen"
    return Check(name="superiority", outcome=outcome, detail=detail, numbers=numbers)


def _vote(judgement: JudgementCompleted) -> int | None:
    if SUSPECTED_INJECTION in judgement.flags:
        return -1
    if judgement.weak or judgement.calibration is None:
        return None
    return _VOTES.get(preference(judgement))


def _p_value(
    candidate: Sequence[Item], told: Sequence[tuple[JudgementCompleted, int]]
) -> tuple[float, str]:
    """Return the two-sided p-value and how it was found: by groups where items share one."""
    # All judgements of a decision are of one evaluation, which gave them their names.
    known = {
        derived_id(each.evaluation, item.id): group(item)
        for each, _ in told[:1]
        for item in candidate
    }
    groups = [known.get(each.item, each.item) for each, _ in told]
    votes = [float(vote) for _, vote in told]
    if len(set(groups)) == len(groups):
        return mcnemar(votes.count(1), votes.count(-1)), "exact sign test"
    found = difference(votes, [0.0] * len(votes), groups)
    return found.p, f"{found.method} over {found.clusters} groups,"
