"""The services; each consumes events, decides, and publishes events."""
