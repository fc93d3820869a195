"""feedback-guard: keeps poison out of the training data.

Consumes feedback.submitted (stage 1, by user), feedback.scored (stage 2, by claim),
dataset.published (trusted records as reference), review.answered, opinion.given,
judgement.completed and answer.verified. Emits feedback.scored, feedback.decided, answer.verified,
review.requested, opinion.requested and judgement.requested.
"""
