"""What a revocation names, and what is left without it: pure decisions."""

from __future__ import annotations

import re

from imece.events import (
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Reason,
    RevocationRequested,
    derived_id,
)
from imece.runtime.text import fold
from services.feedback_guard.core import Verdict
from services.feedback_guard.evidence import taught
from services.feedback_guard.policy import Policy
from services.feedback_guard.state import SHORT, Claim, Support


def names(request: RevocationRequested, feedback: FeedbackSubmitted) -> bool:
    """Tell whether tenant and phrase of a request fit; the rest is looked up by index."""
    if feedback.tenant != request.tenant:
        return False
    if request.phrase is None:
        return True
    return fold(request.phrase) in fold(f"{feedback.prompt}\n{taught(feedback)}")


def plain_word(phrase: str | None) -> str:
    """Return the longest word of a phrase that every database finds regardless of case."""
    words = re.findall(r"[A-Za-z0-9]+", phrase or "")
    return max((w for w in words if "i" not in w.lower()), key=len, default="")


def next_version(decided: FeedbackDecided, verdict: Verdict, reason: Reason) -> FeedbackDecided:
    """Return the decision's next version, without a row, with one more reason."""
    return decided.model_copy(
        update={
            "verdict": verdict,
            "version": decided.version + 1,
            "row": None,
            "reasons": (*decided.reasons, reason),
            "score": decided.score + reason.nats,
        }
    )


def takeover(scored: FeedbackScored) -> RevocationRequested:
    """Return the request to take back what a taken-over account gave since the change."""
    return RevocationRequested(
        request=derived_id("takeover", scored.feedback_source, scored.feedback_id),
        reason="takeover",
        by="feedback-guard",
        tenant=scored.feedback.tenant,
        user=scored.feedback.user,
        since=scored.changed,
    )


def taken_back(
    decided: FeedbackDecided, request: RevocationRequested, policy: Policy
) -> FeedbackDecided:
    """Return the version that takes feedback back; `withdrawn` when it never was accepted."""
    code = "revoked" if decided.verdict == "accept" else "withdrawn"
    nats = policy.weights.verifier
    return next_version(decided, "reject", Reason(code=code, nats=nats, detail=request.reason))


def was_accepted(decided: FeedbackDecided) -> bool:
    """Tell whether this version took back feedback that others may have used."""
    return decided.reasons[-1].code in ("revoked", "claim_changed")


def without(claim: Claim, users: set[str]) -> Claim:
    """Return the claim as if these accounts had said nothing about it."""
    return claim._replace(answers={a: _without(s, users) for a, s in claim.answers.items()})


def _without(support: Support, users: set[str]) -> Support:
    gone = users | {user[:SHORT] for user in users}

    def kept(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in gone)

    accounts = kept(support.accounts)
    return Support(
        accounts,
        support.votes - (len(support.accounts) - len(accounts)),
        kept(support.reviews_for),
        kept(support.reviews_against),
        kept(support.sampled_for),
        kept(support.sampled_against),
        kept(support.older),
    )
