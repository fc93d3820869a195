"""Trains a small causal language model from scratch on data set versions.

Consumes training.requested and job.cancel-requested; emits job.state and model.trained; owns the
tables of its jobs. Training runs in a child process, `services.trainer.job`.
"""
