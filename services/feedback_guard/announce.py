"""What the guard tells others: the same content gives the same id, however often it is told."""

from __future__ import annotations

from imece.events import (
    AnswerVerified,
    CampaignFlagged,
    Envelope,
    FeedbackDecided,
    FeedbackRevoked,
    FeedbackScored,
    JudgementRequested,
    OpinionRequested,
    ReviewRequested,
    RevocationRequested,
    derived_id,
    new,
)
from services.feedback_guard import store
from services.feedback_guard.evidence import taught

SOURCE = "imece/feedback-guard"


def verified(said: AnswerVerified, key: str) -> Envelope[AnswerVerified]:
    return new(said, SOURCE, derived_id(SOURCE, "verified", key))


def revoked(decided: FeedbackDecided, request: RevocationRequested) -> Envelope[FeedbackRevoked]:
    """Tell whoever trained on a row that it was taken back."""
    gone = FeedbackRevoked(
        feedback=decided.feedback,
        feedback_source=decided.feedback_source,
        version=decided.version,
        reason=request.reason,
        by=request.by,
    )
    id = derived_id(SOURCE, "revoked", gone.feedback_source, gone.feedback, gone.version)
    return new(gone, SOURCE, id)


def flagged(feedback: str, flag: CampaignFlagged) -> Envelope[CampaignFlagged]:
    """Tell that a vote has shown accounts in lockstep."""
    return new(flag, SOURCE, derived_id(SOURCE, "flagged", feedback))


def decided(version: FeedbackDecided) -> Envelope[FeedbackDecided]:
    """Tell one version of a decision."""
    id = derived_id(SOURCE, "decided", version.feedback_source, version.feedback, version.version)
    return new(version, SOURCE, id)


def asked(request: OpinionRequested) -> Envelope[OpinionRequested]:
    """Invite users, named by the first of them."""
    id = derived_id(SOURCE, "opinion", request.item, request.invited[0].user)
    return new(request, SOURCE, id)


def compared(question: JudgementRequested) -> Envelope[JudgementRequested]:
    """Ask a blind reference model."""
    return new(question, SOURCE, derived_id(SOURCE, question.item))


def review(scored: FeedbackScored) -> Envelope[ReviewRequested]:
    """Ask people once about an answer that waits, whoever gave it."""
    id = derived_id(SOURCE, "review", scored.claim, scored.answer)
    return new(_question(scored), SOURCE, id)


def check(scored: FeedbackScored) -> Envelope[ReviewRequested]:
    """Ask people about an answer that was accepted."""
    return new(_question(scored), SOURCE, derived_id(SOURCE, "audit", store.key_of(scored)))


def _question(scored: FeedbackScored) -> ReviewRequested:
    """Return the question whether an answer is right (option 0) or wrong (option 1)."""
    text = taught(scored.feedback)
    return ReviewRequested(
        item=f"feedback:{store.key_of(scored)}",
        origin="feedback",
        prompt=scored.feedback.prompt,
        options=(f"right: {text}", f"wrong: {text}"),
    )
