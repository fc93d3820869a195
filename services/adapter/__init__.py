"""Fine-tunes a base model on data set versions.

Consumes adaptation.requested, job.cancel-requested, dataset.published and adapter.tainted; emits
job.state, adapter.trained and audit.recorded; owns the tables of its jobs, studies of sweeps,
newest data sets and taints. Training runs in a child process, `services.adapter.job`.
"""
