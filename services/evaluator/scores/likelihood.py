"""Figures from log probabilities: choices, confidence, calibration, bits a byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True, slots=True)
class Chosen:
    """The likeliest choice and, of all choices, the share of probability that it has."""

    choice: int
    confidence: float


def choose(logps: Sequence[float]) -> Chosen:
    """Return the likeliest of choices by their log probabilities in nats; ties go to the first."""
    best = max(range(len(logps)), key=lambda i: (logps[i], -i))
    total = sum(math.exp(logp - logps[best]) for logp in logps)
    return Chosen(best, 1 / total)


def choose_by_length(logps: Sequence[float], choices: Sequence[str]) -> int:
    """Return the choice that is likeliest a byte, so that long choices are not at a loss."""
    each = [logp / max(1, len(c.encode())) for logp, c in zip(logps, choices, strict=True)]
    return max(range(len(each)), key=lambda i: (each[i], -i))


def bits_per_byte(nats: float, size: int) -> float:
    """Return a negative log likelihood in nats over `size` bytes of UTF-8 as bits a byte.

    Unlike perplexity it may be compared between models with different tokenizers.
    """
    if size < 1:
        raise ValueError("no bytes: bits a byte are not defined")
    return nats / math.log(2) / size


def calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Return the expected calibration error over 15 equal bins; 0 is perfect."""
    sure, good = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if sure.size == 0:
        raise ValueError("no answers: calibration is not defined")
    at = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(at, weights=good - sure, minlength=BINS)
    return float(np.abs(gaps).sum() / sure.size)
