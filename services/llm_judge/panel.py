"""What the replies of one or several judges add up to: votes, verdict, confidence, flags; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from imece.events import JudgementRequested
from imece.runtime.families import UNKNOWN
from services.llm_judge import core
from services.llm_judge.core import Preference, Reply, Scores, Unscored


@dataclass(frozen=True, slots=True)
class Opinion:
    """One judge's replies: two orders of a pair, or one about a single answer."""

    judge: str
    family: str
    replies: tuple[Reply, ...]

    def votes(self) -> tuple[Preference, ...]:
        """Return what each order prefers; none when an order is missing, or it would be biased."""
        told = tuple(core.preferred(r.outcome, swapped=bool(n)) for n, r in enumerate(self.replies))
        return () if "unscored" in told else told


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict of one stage."""

    verdict: Preference
    confidence: float | None = None
    score: float | None = None
    first: Preference = "unscored"
    second: Preference = "unscored"
    reason: str = ""
    scores: tuple[float, ...] = ()


def family_flags(request: JudgementRequested, families: Sequence[str]) -> tuple[str, ...]:
    """Say when a judge may favour its own kin, or when that cannot be told."""
    asked = set(request.families)
    if set(families) & asked - {UNKNOWN}:
        return ("same_family",)
    if not asked or UNKNOWN in asked or UNKNOWN in families:
        return ("family_unknown",)
    return ()


def decide(request: JudgementRequested, opinions: Sequence[Opinion]) -> Decision:
    """Add up opinions; judges without a full opinion have no vote."""
    reasons = [
        str(r.outcome) for o in opinions for r in o.replies if isinstance(r.outcome, Unscored)
    ]
    reason = "; ".join(dict.fromkeys(reasons))[:2000]
    if request.mode == "pointwise":
        return _pointwise(request, opinions, reason)
    orders = [
        tuple(core.preferred(o.replies[n].outcome, swapped=bool(n)) for o in opinions)
        for n in (0, 1)
    ]
    first, second = _plural(orders[0]), _plural(orders[1])
    votes = [vote for opinion in opinions for vote in opinion.votes()]
    if not votes:
        return Decision("unscored", None, None, first, second, reason)
    winner: Preference = "tie"
    for side in ("a", "b"):
        if votes.count(side) * 2 > len(votes):
            winner = side
    return Decision(winner, votes.count(winner) / len(votes), None, first, second)


def _pointwise(request: JudgementRequested, opinions: Sequence[Opinion], reason: str) -> Decision:
    told = [
        reply.outcome for o in opinions for reply in o.replies if isinstance(reply.outcome, Scores)
    ]
    if not told:
        return Decision("unscored", reason=reason)
    score = fmean(each.mean for each in told)
    passed = score >= request.pass_at
    agree = fmean((each.mean >= request.pass_at) == passed for each in told)
    verdict: Preference = "a" if passed else "b"
    scores = tuple(
        round(fmean(column), 6) for column in zip(*(each.scores for each in told), strict=True)
    )
    return Decision(verdict, agree, round(score, 6), verdict, verdict, scores=scores)


def _plural(votes: Sequence[Preference]) -> Preference:
    """Return what most of the scored votes say; a tie when none leads."""
    scored: list[Preference] = [vote for vote in votes if vote != "unscored"]
    if not scored:
        return "unscored"
    sides: tuple[Preference, ...] = ("a", "b", "tie")
    counts = {side: scored.count(side) for side in sides}
    leaders = [side for side, count in counts.items() if count == max(counts.values())]
    return leaders[0] if len(leaders) == 1 else "tie"
