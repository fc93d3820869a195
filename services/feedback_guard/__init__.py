"""feedback-guard: keeps poison out of the training data.

Consumes feedback.submitted (stage 1, by user), feedback.scored (stage 2, by claim),
dataset.published (trusted records as reference) and review.answered. Emits feedback.scored,
feedback.decided and review.requested. Owns the tables account, vote, claim, decision, near and
reference.
"""
