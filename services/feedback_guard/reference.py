"""A model asked blindly which of two answers is right: one capped voice beside the users asked.

llm-judge asks it in both orders, in its own time; its verdicts are events, so a replay needs no
model and no batch waits for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy import Connection

from imece.events import Correction, FeedbackScored, JudgementCompleted, JudgementRequested
from services.feedback_guard import claims, rows
from services.feedback_guard.budgets import Bucket
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Claim, mark, slot

PREFIX = "reference:"
_DAY = 86_400
_ASKED = Counter("imece_feedback_reference_asked", "Questions to the reference model", ["outcome"])
_TOLD = Counter("imece_feedback_reference_told", "What the reference model said", ["verdict"])


@dataclass(frozen=True)
class Preferred:
    """The reference model's word: which of two answers to a question it prefers, by `mark`."""

    claim: str
    better: str
    worse: str


def question(scored: FeedbackScored, policy: Policy) -> JudgementRequested | None:
    """Return what the model is asked: question and answers, nothing about who said what.

    None where feedback brings no second answer, or the model would judge an answer of its own.
    """
    feedback, signal = scored.feedback, scored.feedback.signal
    if not isinstance(signal, Correction) or feedback.model in policy.reference.judges:
        return None
    shown = slot(claims.answer_key(feedback.answer, feedback.prompt))
    pair = sorted([(shown, feedback.answer), (slot(scored.answer), signal.text)])
    (one, first), (two, second) = pair
    if one == two:
        return None
    version = mark("\n".join(policy.reference.judges))  # another model is asked anew
    return JudgementRequested(
        item=f"{PREFIX}{scored.claim}:{mark(one)}:{mark(two)}:{version}",
        evaluation=f"feedback-guard-{scored.submitted:%Y-%m-%d}",
        prompt=feedback.prompt,
        answer_a=first,
        answer_b=second,
        people=False,
    )


def ask(
    connection: Connection, waiting: Iterable[FeedbackScored], policy: Policy
) -> list[JudgementRequested]:
    """Return the questions about feedback that waits, as far as the day's budget goes.

    A question that was asked before costs nothing: llm-judge answers it from what it knows.
    """
    if not policy.reference.judges:
        return []
    asked = [(q, s) for s in waiting if (q := question(s, policy)) is not None]
    days = {f"reference|{scored.feedback.tenant}" for _, scored in asked}
    ledger = rows.ledger(connection, [*days, *(each.item for each, _ in asked)])
    known, found = dict(ledger), {}
    for each, scored in asked:
        now, day = scored.submitted.timestamp(), f"reference|{scored.feedback.tenant}"
        if each.item not in ledger:
            used = ledger.get(day, Bucket())
            if used.level_at(now, _DAY) + 1 > policy.reference.per_day:
                _ASKED.labels("budget").inc()
                continue
            ledger |= {day: used.add(1, now, _DAY), each.item: Bucket(1, now)}
            _ASKED.labels("asked").inc()
        found[each.item] = each
    rows.save_ledger(connection, rows.differing(ledger, known))
    return list(found.values())


def read(told: JudgementCompleted, policy: Policy) -> Preferred | None:
    """Return what a verdict says about two answers; None unless a named judge prefers one.

    Where the two orders disagree the verdict is a tie, and where the judge failed there is none:
    both are no evidence.
    """
    parts = told.item.removeprefix(PREFIX).split(":")
    if not told.item.startswith(PREFIX) or len(parts) != 4 or told.mode != "pairwise":
        return None
    if told.judge not in policy.reference.judges:
        _TOLD.labels("other_judge").inc()
        return None
    _TOLD.labels(told.verdict).inc()
    claim, one, two, _version = parts
    agreed = told.first_order == told.second_order == told.verdict
    if told.verdict not in ("a", "b") or not agreed:
        return None
    return Preferred(claim, one, two) if told.verdict == "a" else Preferred(claim, two, one)


def booked(claim: Claim, said: Preferred) -> Claim:
    """Return the claim with the comparison, kept at one of the two answers; unknown ones at none.

    It speaks about the other answer too, whoever gives that later.
    """
    pair = {said.better, said.worse}
    sides = {a: s for a, s in claim.answers.items() if mark(a) in pair}
    free = [answer for answer, support in sides.items() if not support.compared]
    if not free or any(word[1:] in pair for s in sides.values() for word in s.compared):
        return claim  # said before, or both were compared with others
    better = mark(free[0]) == said.better
    now = sides[free[0]].preferred(said.worse if better else said.better, better)
    return claim.with_support(free[0], now)
