"""The guard's decisions: pure functions of an event, the stored state and the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Rating,
    Reason,
    Thumb,
    training_row,
)
from services.feedback_guard import background, budgets, claims, content, minhash
from services.feedback_guard.admission import Admission
from services.feedback_guard.evidence import Evidence, evidence, taught
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import Account, Claim, account_id

Verdict = Literal["accept", "quarantine", "reject"]
_STRONG = frozenset(
    {
        "injection",
        "campaign",
        "near_duplicate",
        "invisible_text",
        "mixed_scripts",
        "refuted_by_reference",
    }
)


def score(
    event: Envelope[FeedbackSubmitted], account: Account, admitted: Admission, policy: Policy
) -> FeedbackScored:
    """Stage one: admission, content and the user's record, before anything about the claim."""
    feedback = event.data
    text = taught(feedback)
    stance: Literal[-1, 1] = 1 if _supports(feedback) else -1
    return FeedbackScored(
        claim=claims.claim_id(feedback.tenant, feedback.prompt),
        answer=claims.answer_key(text, feedback.prompt),
        stance=stance,
        feedback=feedback,
        feedback_id=event.id,
        feedback_source=event.source,
        submitted=event.time,
        trust=admitted.weight * max(-1.5, min(1.5, (account.right - account.wrong) * 0.3)),
        reasons=tuple(_content_reasons(event, text, policy)),
        signature=_signature(feedback),
        phrases=background.rare_phrases(feedback.prompt, text) if stance > 0 else (),
        weight=admitted.weight,
        hard=admitted.hard,
    )


def _signature(feedback: FeedbackSubmitted) -> tuple[int, ...]:
    if not isinstance(feedback.signal, Correction):
        return ()
    return minhash.signature(feedback.signal.text, feedback.prompt, feedback.answer)


def _supports(feedback: FeedbackSubmitted) -> bool:
    """Tell whether the feedback is for an answer (a correction is for its own text)."""
    signal = feedback.signal
    if isinstance(signal, Thumb):
        return signal.up
    return signal.stars >= 4 if isinstance(signal, Rating) else True


def _content_reasons(event: Envelope[FeedbackSubmitted], text: str, policy: Policy) -> list[Reason]:
    found = content.reasons(event.data, text, policy)
    created = event.data.account_created
    if created and event.time - created < timedelta(days=policy.thresholds.young_days):
        found.append(Reason(code="young_account", nats=policy.weights.young_account))
    return found


def record(scored: FeedbackScored, claim: Claim) -> Claim:
    """Add this vote to the claim."""
    if scored.hard is not None or scored.stance < 0:
        return claim
    user = account_id(scored.feedback.tenant, scored.feedback.user)
    return claim.with_support(scored.answer, claim.support(scored.answer).voted(user))


def decide(
    scored: FeedbackScored,
    claim: Claim,
    policy: Policy,
    *,
    version: int = 1,
    near: int = 0,
    ledger: budgets.Ledger | None = None,
) -> FeedbackDecided:
    """Stage two: weigh the evidence about the claim; `claim` already holds this vote.

    `near` counts the accounts that sent nearly the same text, to whatever question; `ledger` holds
    the budgets that the row would fill.
    """
    known = evidence(scored, claim, policy)
    reasons = [*scored.reasons, *_claim_reasons(scored, claim, known, policy, near)]
    verdict = _verdict(scored, known, reasons, policy)
    row = training_row(scored.feedback) if verdict == "accept" else None
    if row is not None:
        over = budgets.over(scored, policy, ledger or {}, None)
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
        reasons=tuple(reasons) or (Reason(code="consistent"),),
        score=sum(reason.nats for reason in reasons),
        version=version,
        policy=policy.version,
        record_set=scored.feedback.record_set,
        row=row,
    )


def _claim_reasons(
    scored: FeedbackScored, claim: Claim, known: Evidence, policy: Policy, near: int
) -> list[Reason]:
    if scored.hard is not None:
        return [Reason(code=scored.hard, nats=policy.weights.verifier)]
    weights = policy.weights
    found = _verifier_reasons(scored, known, policy)
    if _contradicts(scored):
        detail = "no independent evidence yet" if not known.confirmed else ""
        found.append(Reason(code="contradicts_answer", nats=weights.status_quo, detail=detail))
        if not known.confirmed:
            found += _campaign(scored, claim, policy, near)
    if scored.trust:
        said = max(-weights.cluster_cap, min(weights.cluster_cap, -scored.trust))
        found.append(Reason(code="user_record", nats=said))
    if not _contradicts(scored):
        found.append(Reason(code="status_quo", nats=-weights.status_quo))
    return found


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


def _verifier_reasons(scored: FeedbackScored, known: Evidence, policy: Policy) -> list[Reason]:
    found = []
    checks = (
        ("arithmetic", known.arithmetic, policy.weights.verifier),
        ("reference", known.reference, policy.weights.reference),
        ("review", known.reviewed, policy.weights.verifier),
    )
    for name, says, nats in checks:
        if says is not None:
            right = says == (scored.stance > 0)
            code = f"{'confirmed' if right else 'refuted'}_by_{name}"
            found.append(Reason(code=code, nats=-nats if right else nats))
    return found


def _contradicts(scored: FeedbackScored) -> bool:
    return scored.stance < 0 or isinstance(scored.feedback.signal, Correction)


def _verdict(
    scored: FeedbackScored, known: Evidence, reasons: Sequence[Reason], policy: Policy
) -> Verdict:
    if scored.hard is not None:
        return "reject"
    total = sum(reason.nats for reason in reasons)
    against = {reason.code for reason in reasons if reason.nats > 0}
    taught_wrong = scored.stance > 0 and known.refuted
    if taught_wrong and (known.arithmetic is False or known.reviewed is False):
        return "reject" if isinstance(scored.feedback.signal, Correction) else "quarantine"
    if total >= policy.thresholds.reject and len(against) >= 2 and not known.confirmed:
        strong = _STRONG & against
        return "reject" if len(strong) >= 2 else "quarantine"
    if _contradicts(scored) and not _backed(scored, known):
        return "quarantine"
    return "accept" if total <= policy.thresholds.accept else "quarantine"


def _backed(scored: FeedbackScored, known: Evidence) -> bool:
    """Votes alone never carry a contradiction: a verifier, a reference or people must."""
    return known.confirmed if scored.stance > 0 else known.refuted


def settle(account: Account, decided: FeedbackDecided, weight: float = 1.0) -> Account:
    """Credit or debit a user for a vote that a verifier, a reference or people resolved."""
    codes = {reason.code for reason in decided.reasons}
    proven = any(code.startswith("confirmed_by") for code in codes)
    refuted = any(code.startswith("refuted_by") for code in codes)
    return replace(
        account,
        right=min(20.0, account.right + (weight if proven and not refuted else 0.0)),
        wrong=min(20.0, account.wrong + (5 * weight if refuted else 0.0)),
    )
