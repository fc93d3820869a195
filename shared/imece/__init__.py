"""imece: the contracts and the client of an event-driven loop that improves generative models."""

__version__ = "0.1.0"
