"""Says which of two answers is better, in both orders, or whether one is good enough.

Consumes judgement.requested; emits judgement.completed and review.requested; owns the tables
judgement and judge_*. Judges are OpenAI-compatible endpoints, cheap ones first, or a small local
model in a child process behind the same interface. Doubts go to people.
"""
