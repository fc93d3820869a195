"""BLEU, chrF and TER by sacrebleu, on composed text, with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from services.evaluator.scores.words import nfc

Kind = Literal["bleu", "chrf", "ter"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus score from 0 to 100 (TER: errors, may exceed it) and how it was made."""

    value: float
    signature: str


def of_corpus(kind: Kind, answers: Sequence[str], references: Sequence[Sequence[str]]) -> Corpus:
    """Score all answers together; `references` are those of each answer, one or more."""
    metric = _metric(kind)
    most = max(map(len, references))
    streams = [[nfc(r[i]) if i < len(r) else None for r in references] for i in range(most)]
    value = metric.corpus_score([nfc(answer) for answer in answers], streams).score
    return Corpus(_percent(kind, value), f"{kind}|form:nfc|{metric.get_signature().format()}")


def of_item(kind: Kind, answer: str, references: Sequence[str]) -> float:
    """Score one answer; BLEU in effective order, else three equal words would score 0."""
    score = _metric(kind).sentence_score(nfc(answer), [nfc(each) for each in references])
    return _percent(kind, score.score)


def _percent(kind: Kind, value: float) -> float:
    return float(value) if kind == "ter" else min(100.0, float(value))  # 100.00000000000004


@cache
def _metric(kind: Kind) -> Any:
    if kind == "bleu":
        # 13a splits ASCII marks only; intl knows the marks of every script.
        return BLEU(tokenize="intl", effective_order=True)
    return CHRF() if kind == "chrf" else TER(normalized=True, asian_support=True)
