"""Says which of two answers is better, by asking a judge model in both orders.

Consumes judgement.requested; emits judgement.completed; owns the table judgement. The judge is any
OpenAI-compatible endpoint, or a small local model in a child process behind the same interface.
"""
