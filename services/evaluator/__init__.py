"""Tests models and decides on promotion.

Consumes evaluation.requested, adapter.trained, judgement.completed and job.cancel-requested; emits
evaluation.completed, judgement.requested, promotion.decided, audit.recorded and job.state; owns the
tables evaluation, judgement, champion and that of its jobs. Answers are made in a child process.
"""
