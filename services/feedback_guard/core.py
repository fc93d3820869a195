"""The guard's decisions: pure functions of an event, the stored state and the policy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Reason,
    training_row,
)
from services.feedback_guard import (
    background,
    budgets,
    claims,
    content,
    minhash,
    segments,
    subjects,
)
from services.feedback_guard.admission import Admission
from services.feedback_guard.content import ModelScores
from services.feedback_guard.evidence import (
    BLIND,
    Evidence,
    contradicts,
    evidence,
    prior,
    taught,
    weigh,
)
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Account, Claim, account_id

Verdict = Literal["accept", "quarantine", "reject"]
SAME = "same_answer"
"""A correction says what was shown: a pair of the two would teach taste in length or spelling."""
_STRONG = frozenset(
    {
        "injection",
        "campaign",
        "near_duplicate",
        "invisible_text",
        "mixed_scripts",
        "refuted_by_reference",
        "toxic",
    }
)


def score(
    event: Envelope[FeedbackSubmitted],
    account: Account,
    admitted: Admission,
    policy: Policy,
    changed: datetime | None = None,
    *,
    scores: ModelScores = content.NO_SCORES,
) -> FeedbackScored:
    """Stage one: admission, content and the user's record, before anything about the claim.

    `changed` says since when the account behaves like somebody else's; `scores` what the optional
    classifiers say.
    """
    feedback = event.data
    text = taught(feedback)
    stance: Literal[-1, 1] = 1 if content.supports(feedback) else -1
    subject = subjects.subject(feedback.prompt)
    return FeedbackScored(
        claim=claims.claim_id(feedback.tenant, feedback.prompt),
        answer=claims.answer_key(text, feedback.prompt),
        stance=stance,
        feedback=feedback,
        feedback_id=event.id,
        feedback_source=event.source,
        submitted=event.time,
        trust=_capped(admitted.weight * account.trust(subject), policy),
        subject=subject,
        reasons=tuple(_own_reasons(event, text, policy, changed, scores)),
        signature=_signature(feedback),
        phrases=background.rare_phrases(feedback.prompt, text) if stance > 0 else (),
        weight=admitted.weight,
        hard=admitted.hard,
        changed=changed,
        injection=scores.injection,
        toxicity=scores.toxicity,
    )


def _signature(feedback: FeedbackSubmitted) -> tuple[int, ...]:
    """Sketch what is new in the text that is taught; praise teaches the answer shown."""
    if isinstance(feedback.signal, Correction):
        return minhash.signature(feedback.signal.text, feedback.prompt, feedback.answer)
    return minhash.signature(feedback.answer, feedback.prompt) if content.supports(feedback) else ()


def _own_reasons(
    event: Envelope[FeedbackSubmitted],
    text: str,
    policy: Policy,
    changed: datetime | None,
    scores: ModelScores,
) -> list[Reason]:
    found = content.reasons(event.data, text, policy, scores)
    if changed is not None:
        detail = f"since {changed.isoformat()}"
        found.append(Reason(code="takeover", nats=policy.weights.takeover, detail=detail))
    created = event.data.account_created
    if created and event.time - created < timedelta(days=policy.thresholds.young_days):
        found.append(_reason("young_account", policy.weights.young_account))
    return found


def record(scored: FeedbackScored, claim: Claim, policy: Policy) -> Claim:
    """Add this vote to the claim."""
    if scored.hard is not None or scored.stance < 0:
        return claim
    user = account_id(scored.feedback.tenant, scored.feedback.user)
    support = claim.support(scored.answer).voted(user)
    if not budgets.is_young(scored, policy):
        support = support.backed(user)
    return claim.with_support(scored.answer, support)


def decide(
    scored: FeedbackScored,
    claim: Claim,
    policy: Policy,
    *,
    version: int = 1,
    near: int = 0,
    ledger: budgets.Ledger | None = None,
    model: Account | None = None,
    cluster: str | None = None,
    mates: Collection[str] = (),
) -> FeedbackDecided:
    """Stage two: weigh the evidence about the claim; `claim` already holds this vote.

    `near` counts the accounts that sent nearly the same text, to whatever question; `ledger` holds
    the budgets that the row would fill; `model` says how often the model was right on the subject,
    `cluster` with whom the account acts: `mates`.
    """
    known = evidence(scored, claim, policy)
    reasons = [*scored.reasons, *weigh(scored, known, policy)]
    reasons += _vote_reasons(scored, known, policy, prior(model, policy))
    if contradicts(scored) and scored.hard is None and not known.confirmed:
        reasons += _campaign(scored, claim, policy, near)
    if cluster is not None and contradicts(scored) and not known.confirmed:
        reasons.append(Reason(code="lockstep", nats=policy.weights.lockstep, detail=cluster))
    if _waits(scored, known, policy):
        reasons.append(_reason("unconfirmed_praise"))
    verdict = _verdict(scored, known, reasons, policy)
    row = training_row(scored.feedback) if verdict == "accept" else None
    if row is not None and _says_the_same(scored):
        row, reasons = None, [*reasons, _reason(SAME)]
    if row is not None:
        alone = unconfirmed(scored, claim, policy, mates)
        over = budgets.over(scored, policy, ledger or {}, cluster, alone)
        if over is not None:
            # A claim with enough rows stays right; every other full budget is a warning.
            verdict = "accept" if over == "budget_claim" else "quarantine"
            row, reasons = None, [*reasons, Reason(code=over)]
    return FeedbackDecided(
        feedback=scored.feedback_id,
        feedback_source=scored.feedback_source,
        user=scored.feedback.user,
        claim=scored.claim,
        verdict=verdict,
        reasons=tuple(reasons) or (_reason("consistent"),),
        score=sum(reason.nats for reason in reasons),
        version=version,
        policy=policy.version,
        record_set=scored.feedback.record_set,
        row=row,
    )


def _says_the_same(scored: FeedbackScored) -> bool:
    feedback = scored.feedback
    if not isinstance(feedback.signal, Correction):
        return False
    return claims.answer_key(feedback.answer, feedback.prompt) == scored.answer


def _vote_reasons(
    scored: FeedbackScored, known: Evidence, policy: Policy, status_quo: float
) -> list[Reason]:
    if scored.hard is not None:
        return [_reason(scored.hard, policy.weights.verifier)]
    found = []
    if contradicts(scored):
        detail = "no independent evidence yet" if not known.confirmed else ""
        found.append(_reason("contradicts_answer", status_quo, detail))
    else:
        found.append(_reason("status_quo", -status_quo))
    if scored.trust:
        found.append(_reason("user_record", _capped(-scored.trust, policy)))
    return found


@lru_cache(maxsize=4096)  # most decisions have the same few
def _reason(code: str, nats: float = 0.0, detail: str = "") -> Reason:
    return Reason(code=code, nats=nats, detail=detail)


def _campaign(scored: FeedbackScored, claim: Claim, policy: Policy, near: int) -> list[Reason]:
    """Many accounts with one answer to one question, or with nearly one text to several."""
    least, nats = policy.thresholds.campaign_accounts, policy.weights.campaign
    crowd = len(claim.support(scored.answer).accounts)
    if crowd >= least:
        return [Reason(code="campaign", nats=nats, detail=f"{crowd} accounts teach this answer")]
    if near >= least:
        detail = f"{near} accounts sent nearly this text"
        return [Reason(code="near_duplicate", nats=nats, detail=detail)]
    return []


def settle_model(model: Account, decided: FeedbackDecided, scored: FeedbackScored) -> Account:
    """Credit or debit the model when feedback on its answer was resolved."""
    codes = {reason.code.partition("_by_")[0] for reason in decided.reasons}
    if len(codes & {"confirmed", "refuted"}) != 1 or SAME in codes:
        return model
    right = ("confirmed" in codes) != contradicts(scored)
    wrong = min(500.0, model.wrong + (not right))
    return model._replace(right=min(500.0, model.right + right), wrong=wrong)


def _capped(nats: float, policy: Policy) -> float:
    return max(-policy.weights.cluster_cap, min(policy.weights.cluster_cap, nats))


def unconfirmed(
    scored: FeedbackScored, claim: Claim, policy: Policy, mates: Collection[str] = ()
) -> bool:
    """Tell whether praise rests on nothing but the word of an account with nothing proven.

    An older account with the same answer, a verifier, a record or people are support; accounts
    in lockstep with this one (`mates`) are none.
    """
    if contradicts(scored) or scored.trust > 0:
        return False
    user = account_id(scored.feedback.tenant, scored.feedback.user)
    if set(claim.support(scored.answer).older) - {user, *mates}:
        return False
    return not evidence(scored, claim, policy).confirmed


def _verdict(
    scored: FeedbackScored, known: Evidence, reasons: Sequence[Reason], policy: Policy
) -> Verdict:
    if scored.hard is not None:
        return "reject"
    # The reference model speaks beside the users asked; no threshold is crossed by its word.
    weighed = [reason for reason in reasons if reason.code != BLIND]
    total = sum(reason.nats for reason in weighed)
    against = {reason.code for reason in weighed if reason.nats > 0}
    taught_wrong = scored.stance > 0 and known.refuted
    if taught_wrong and (known.certain is False or known.reviewed is False):
        return "reject" if isinstance(scored.feedback.signal, Correction) else "quarantine"
    if total >= segments.reject_at(scored, policy) and len(against) >= 2 and not known.confirmed:
        strong = _STRONG & against
        return "reject" if len(strong) >= 2 else "quarantine"
    if not contradicts(scored) and (_doubted(known) or _waits(scored, known, policy)):
        return "quarantine"
    if contradicts(scored) and not _backed(scored, known):
        return "quarantine"
    if scored.stance > 0 and "invisible_text" in against:
        return "quarantine"  # whoever confirmed the answer has not seen what it hides
    return "accept" if total <= policy.thresholds.accept else "quarantine"


def _waits(scored: FeedbackScored, known: Evidence, policy: Policy) -> bool:
    """Tell whether praise waits for somebody who did not vote to say that the answer is right.

    The model says it already, so waiting costs little, and accounts that praise are cheap.
    """
    praise = not contradicts(scored) and scored.hard is None
    return praise and policy.thresholds.praise_waits and not known.confirmed


def _doubted(known: Evidence) -> bool:
    """Praise of what somebody independent contradicts waits, however good the user's record."""
    agree, differ = known.asked
    return not known.confirmed and (known.refuted or known.rival or differ > agree)


def _backed(scored: FeedbackScored, known: Evidence) -> bool:
    """Votes alone never carry a contradiction: a verifier, a reference or people must."""
    return known.confirmed if scored.stance > 0 else known.refuted


def settle(account: Account, decided: FeedbackDecided, scored: FeedbackScored) -> Account:
    """Credit or debit a user for a vote that a verifier, a reference or people resolved."""
    codes = {reason.code for reason in decided.reasons}
    proven = any(code.startswith("confirmed_by") for code in codes)
    refuted = any(code.startswith("refuted_by") for code in codes)
    right = scored.weight if proven and not refuted else 0.0
    wrong = 5 * scored.weight if refuted else 0.0
    return account.proven(scored.subject, right, wrong) if right or wrong else account
