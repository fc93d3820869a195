"""Durable jobs: claim, ack, run. A row with a lease and a fencing token, a child process each.

The runner is `imece.runtime.jobs.runner`; the child's side, `imece.runtime.jobs.child`, imports
nothing of it. The table is `imece.runtime.jobs.store.define`.
"""

from __future__ import annotations

from imece.runtime.jobs.model import Job, JobRequest

__all__ = ["Job", "JobRequest"]
