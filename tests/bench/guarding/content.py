"""How well the guard's own content scan sees injections, and a linear model beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imece.events import Correction, Envelope, FeedbackSubmitted
from services.feedback_guard.policy import Policy
from services.feedback_guard.replay import Guard
from tests.bench.guarding.material import Material
from tests.bench.guarding.rivals import baselines
from tests.bench.guarding.stream import BEGIN


@dataclass(frozen=True)
class Scan:
    """Shares of texts that were called an injection."""

    recall: float
    by_source: dict[str, float]
    false_positives: float
    linear_recall: float | None
    """A linear n-gram model trained on the other half, at 1 % false positives."""
    points: tuple[tuple[float, float], ...]
    """The linear model's ROC: false positives and recall."""


def scan(material: Material, policy: Policy) -> Scan:
    """Test on the half of the data that the linear model was not trained on."""
    bad, good = material.injections[1::2], material.harmless[1::2]
    called, wrongly = _called(bad, policy), _called(good, policy)
    linear, points = _linear(material)
    sources = sorted({source for source, _ in bad})
    return Scan(
        recall=sum(called) / len(called),
        by_source={
            source: _share([c for c, (s, _) in zip(called, bad, strict=True) if s == source])
            for source in sources
        },
        false_positives=_share(wrongly),
        linear_recall=linear,
        points=points,
    )


def _linear(material: Material) -> tuple[float | None, tuple[tuple[float, float], ...]]:
    if baselines is None:
        return None, ()
    model, threshold = baselines.fitted(material)
    bad = model.decision_function([text for _, text in material.injections[1::2]])
    good = model.decision_function([text for _, text in material.harmless[1::2]])
    points = tuple(
        (float((good > cut).mean()), float((bad > cut).mean()))
        for cut in sorted(set(bad), reverse=True)
    )
    return float((bad > threshold).mean()), points


def _called(texts: Sequence[tuple[str, str]], policy: Policy) -> list[bool]:
    """Let the guard decide about corrections with these texts; who sends them is nobody's twin."""
    events = [_correction(text, number) for number, (_, text) in enumerate(texts)]
    decided = Guard(policy).submit(events)
    return [any(r.code.startswith("injection") for r in d.reasons) for d in decided]


def _correction(text: str, number: int) -> Envelope[FeedbackSubmitted]:
    clean = "".join(c for c in text if c.isprintable() or c == "\n")[:4_000].strip() or "-"
    data = FeedbackSubmitted(
        user=f"user-{number}",
        response=f"answer-{number}",
        prompt=f"Which one is number {number}?",
        answer="This one.",
        signal=Correction(text=clean),
    )
    return Envelope(data, f"e{number}", "bench", BEGIN)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
