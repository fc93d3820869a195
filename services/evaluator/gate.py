"""The promotion gate: a pure function of stored items, judgements and a policy."""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imece.errors import ConfigError
from imece.events import Check, JudgementCompleted, ModelRef
from services.evaluator.core import Item, preference, same_model
from services.evaluator.statistics.paired import mcnemar, sign_test, superiority_items

Share = Annotated[float, Field(ge=0, le=1)]
Verdict = Literal["promote", "reject", "inconclusive"]
Outcome = Literal["passed", "failed", "inconclusive"]
INFORMATIVE = "judge-preference"
"""A judge that is not calibrated may rank; this check never decides."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GuardPolicy(_Strict):
    """Hard rules on probes."""

    required: bool
    min_accuracy: Share
    margin: Share
    max_flip_share: Share
    alpha: Share


class SuperiorityPolicy(_Strict):
    """The one test that a candidate has to win."""

    alpha: Annotated[float, Field(gt=0, lt=1)]
    power: Annotated[float, Field(gt=0, lt=1)]
    items: Literal["all", "clean"]
    """Over all items, probes included, or only over those that are no probes."""


class Policy(_Strict):
    """What a promotion takes."""

    name: str
    max_unscored: Share = 0.01
    """So many items may lack an answer, of either model; no probe may."""
    guard: GuardPolicy
    superiority: SuperiorityPolicy


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts over items that both models answered."""

    n: int
    candidate: int
    baseline: int
    wins: int
    losses: int

    def numbers(self) -> dict[str, float]:
        return {
            "n": self.n,
            "candidate_right": self.candidate,
            "baseline_right": self.baseline,
            "wins": self.wins,
            "losses": self.losses,
        }


def read_policy(path: Path) -> Policy:
    """Read a policy file; `ConfigError` names what is wrong in it."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"gate policy {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"gate policy {path}: {field}: {first['msg']}") from error


def decide(
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    judgements: Sequence[JudgementCompleted],
    asked: int,
    policy: Policy,
) -> tuple[Verdict, tuple[Check, ...]]:
    """Return the verdict and all checks; `asked` is how many judgements were requested."""
    checks = [_complete(candidate, baseline)]
    checks += _unscored(candidate, baseline, policy.max_unscored)
    checks += _guards(candidate, baseline, policy.guard)
    checks.append(_unharmed(pair(candidate, baseline, guard=False), policy.superiority.alpha))
    tested = None if policy.superiority.items == "all" else False
    checks.append(_superior(pair(candidate, baseline, guard=tested), policy.superiority))
    outcomes = [check.outcome for check in checks]
    if "failed" in outcomes:
        verdict: Verdict = "reject"
    else:
        verdict = "inconclusive" if "inconclusive" in outcomes else "promote"
    if asked:
        checks.append(_judged(judgements, asked))
    return verdict, tuple(checks)


def pair(
    candidate: Sequence[Item],
    baseline: Sequence[Item],
    *,
    guard: bool | None,
    slice: str | None = None,
) -> Pairs:
    """Count over the items that both answered; `guard` None takes probes and others."""
    before = {item.id: item.correct for item in baseline if item.graded}
    both = [
        (item.correct, before[item.id])
        for item in candidate
        if item.graded
        and guard in (None, item.guard)
        and item.id in before
        and slice in (None, item.slice)
    ]
    return Pairs(
        n=len(both),
        candidate=sum(new for new, _ in both),
        baseline=sum(old for _, old in both),
        wins=sum(new and not old for new, old in both),
        losses=sum(old and not new for new, old in both),
    )


def _complete(candidate: Sequence[Item], baseline: Sequence[Item]) -> Check:
    one, other = {item.id for item in candidate}, {item.id for item in baseline}
    unpaired = len(one ^ other)
    outcome: Outcome = "failed" if unpaired else "passed"
    detail = f"{unpaired} items were answered by one model only, of {len(one | other)}"
    return Check(name="paired-items", outcome=outcome, detail=detail, numbers={"n": unpaired})


def _unscored(candidate: Sequence[Item], baseline: Sequence[Item], most: float) -> list[Check]:
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


def _guards(
    candidate: Sequence[Item], baseline: Sequence[Item], policy: GuardPolicy
) -> list[Check]:
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


def _unharmed(pairs: Pairs, alpha: float) -> Check:
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


def _superior(pairs: Pairs, policy: SuperiorityPolicy) -> Check:
    p = mcnemar(pairs.wins, pairs.losses)
    shown = pairs.wins > pairs.losses and p < policy.alpha
    numbers = pairs.numbers() | {"p": p}
    detail = (
        f"{pairs.candidate} of {pairs.n} right, baseline {pairs.baseline}; {pairs.wins} better and"
        f" {pairs.losses} worse; exact McNemar p = {p:.3g}"
    )
    if not shown:
        needed = superiority_items(pairs.wins, pairs.losses, pairs.n, policy.alpha, policy.power)
        if needed is None:
            detail += "; no advantage was seen"
        else:
            numbers["needed"] = needed
            detail += f"; about {needed - pairs.n} more items would settle an advantage like this"
    outcome: Outcome = "passed" if shown else "inconclusive"
    return Check(name="superiority", outcome=outcome, detail=detail, numbers=numbers)


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
