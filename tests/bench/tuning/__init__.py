"""Parts of the training bench: rows, the ways to tune, the ceiling, the service, the table."""
