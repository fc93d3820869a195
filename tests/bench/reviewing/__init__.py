"""The parts of the benchmark of the review queue."""
