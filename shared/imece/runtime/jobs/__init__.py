"""Durable jobs: claim, ack, run. A row with a lease and a fencing token, a child process each.

The child's side is `imece.runtime.jobs.child`, the table `imece.runtime.jobs.store.define`.
"""

from __future__ import annotations

from imece.runtime.jobs.model import Job, JobRequest
from imece.runtime.jobs.runner import Jobs

__all__ = ["Job", "JobRequest", "Jobs"]
