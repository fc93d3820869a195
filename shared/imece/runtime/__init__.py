"""What every service runs on: delivery, jobs, state, artifacts, health."""
