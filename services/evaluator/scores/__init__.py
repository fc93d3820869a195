"""Scores of answers: classes, texts against references, likelihoods. All pure, no model."""
