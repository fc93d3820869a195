"""Records and accepted feedback become versioned data sets.

Consumes record.submitted, feedback.decided, feedback.revoked and adapter.trained; emits
record.rejected, dataset.published, adapter.tainted and audit.recorded; owns the tables dataset,
data_row, origin, band, version and adapter.
"""
