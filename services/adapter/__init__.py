"""Fine-tunes a base model on data set versions.

Consumes adaptation.requested and job.cancel-requested; emits job.state and adapter.trained; owns
the tables of its jobs. Training runs in a child process, `services.adapter.job`.
"""
