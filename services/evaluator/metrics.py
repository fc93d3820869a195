"""Figures over graded items, with 95 % intervals and a signature that says how they were made.

Items scored by likelihood and by generation never share a figure, and items without an answer are
in none: they are counted by reason.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from imece.events import Metric
from services.evaluator.core import Item
from services.evaluator.scores import classes, likelihood, stems, translation
from services.evaluator.scores.items import LONGEST, TOO_LONG
from services.evaluator.scores.similarity import SIGNATURE
from services.evaluator.scores.words import TOKENS
from services.evaluator.statistics.intervals import cluster_index, clustered_mean, wilson
from services.evaluator.statistics.paired import resample

ACCURACY = "accuracy|answer:contains/1|decoding:greedy|ci:wilson-bcd95"
EXACT = "exact_match|fold:nfkc|decoding:greedy|ci:wilson-bcd95"
STRICT = "accuracy|answer:final/1|decoding:greedy|ci:wilson-bcd95"
LIKELIEST = "accuracy|scoring:likelihood|norm:none|ci:wilson-bcd95"
LIKELIEST_BYTE = "accuracy|scoring:likelihood|norm:bytes|ci:wilson-bcd95"
ECE = "ece|scoring:likelihood|bins:15|ci:bootstrap1000"
BITS = "bits_per_byte|scoring:likelihood|ci:cluster-bootstrap1000"
MACRO_F1 = "macro_f1|labels:suite|unparsed:wrong|decoding:greedy|ci:bootstrap1000"
UNPARSED = "unparsed|labels:suite|decoding:greedy|ci:wilson-bcd95"
_RESAMPLES = 1000
_OF_CORPUS: tuple[translation.Kind, ...] = ("bleu", "chrf", "ter")
_Test = Callable[[Item], bool]


@dataclass(frozen=True, slots=True)
class Account:
    """What became of every item; `attempted` is `scored` plus all of `unscored`."""

    attempted: int
    scored: int
    unscored: dict[str, int] = field(default_factory=dict)


def account(items: Sequence[Item]) -> Account:
    """Count the items with a result, and those without by their reason."""
    lost = Counter(item.unscored for item in items if item.unscored)
    return Account(len(items), sum(not item.unscored for item in items), dict(sorted(lost.items())))


def measure(items: Sequence[Item]) -> tuple[Metric, ...]:
    """Return the metrics of each slice, of the probes, of the rest and of all; none of no items."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.slice].append(item)
        groups["overall"].append(item)
        groups["overall:guard" if item.guard else "overall:clean"].append(item)
    found: list[Metric] = []
    for name, group in sorted(groups.items()):
        found += _group(name, group)
    for suite in sorted({item.suite for item in items if item.labels}):
        found += _labelled(suite, [i for i in items if i.labels and i.suite == suite and i.graded])
    return tuple(found)


def _group(name: str, items: list[Item]) -> Iterator[Metric]:
    written = [i for i in items if i.graded and i.scoring == "generation"]
    chosen = [i for i in items if i.graded and i.scoring == "likelihood"]
    read = [i for i in items if not i.unscored and i.scoring == "bits"]
    if written:
        yield _share(name, ACCURACY, written, lambda item: item.correct)
        yield _share(name, EXACT, written, lambda item: item.exact)
        yield _share(name, STRICT, written, lambda item: item.strict)
        yield from _texts(name, written)
    if chosen:
        yield _share(name, LIKELIEST, chosen, lambda item: item.correct)
        yield _share(name, LIKELIEST_BYTE, chosen, _right_by_length)
        yield _calibration(name, chosen)
    if read:
        yield _bits(name, read)
    yield from _lost(name, items)


def _lost(name: str, items: Sequence[Item]) -> Iterator[Metric]:
    for reason in account(items).unscored:
        yield _share(name, f"unscored|reason:{reason}|ci:wilson-bcd95", items, _because(reason))
    asked = [item for item in items if item.metrics and item.graded]
    if any(len(item.answer) > LONGEST for item in asked):
        signature = f"unscored_text|reason:{TOO_LONG}:{LONGEST}|ci:wilson-bcd95"
        yield _share(name, signature, asked, lambda item: len(item.answer) > LONGEST)


def _because(reason: str) -> _Test:
    return lambda item: item.unscored == reason


def _share(slice: str, name: str, items: Sequence[Item], holds: _Test) -> Metric:
    right, n = sum(holds(item) for item in items), len(items)
    low, high = wilson(right, n)
    names = [item.group or item.id for item in items]
    if len(set(names)) < n:
        # Wilson takes items to be independent; those of one passage or conversation are not.
        low, high = clustered_mean([float(holds(item)) for item in items], names).interval()
        name = name.replace("ci:wilson-bcd95", "ci:cluster-t95")
    return _metric(slice, name, right / n, n, (max(0.0, low), min(1.0, high)))


def _right_by_length(item: Item) -> bool:
    best = likelihood.choose_by_length(item.logps, item.choices)
    return item.choices[best] in item.expected


def _texts(slice: str, items: Sequence[Item]) -> Iterator[Metric]:
    for name, language in sorted({(n, i.language) for i in items for n in i.scores}):
        group = [i for i in items if name in i.scores and i.language == language]
        mean = clustered_mean([i.scores[name] for i in group], [i.group or i.id for i in group])
        low, high = mean.interval()
        if name in _OF_CORPUS:
            of = translation.of_corpus(name, [i.answer for i in group], [i.expected for i in group])
            # The interval is that of the items' mean, moved to the corpus score.
            move, top = of.value - mean.value, math.inf if name == "ter" else 100.0
            signature = f"{of.signature}|lang:{language or 'any'}"
            low, high, value = max(0.0, low + move), min(top, high + move), of.value
        else:
            signature = f"{name}|{_how(name, language)}|refs:best"
            low, high, value = max(0.0, low), min(1.0, high), mean.value
        full = f"{signature}|decoding:greedy|ci:cluster-t95"
        yield _metric(slice, full, value, mean.n, (low, high))


def _how(name: str, language: str) -> str:
    """Say how a score of words or grams was made; an encoder's is said by its name."""
    if name.startswith("cosine@"):
        return "encoder:mean-pool"
    how = SIGNATURE if name == "cosine" else "words"
    if name.endswith("_stem"):
        how = f"stems:{stems.name(language)}"
    return f"{how}|tokens:{TOKENS}|fold:{language or 'any'}"


def _calibration(slice: str, items: Sequence[Item]) -> Metric:
    sure = np.array([likelihood.choose(item.logps).confidence for item in items])
    right = np.array([item.correct for item in items])
    value = likelihood.calibration_error(sure, right)
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(items), size=(_RESAMPLES, len(items)))
    errors = [likelihood.calibration_error(sure[at], right[at]) for at in drawn]
    low, high = np.quantile(errors, (0.025, 0.975))
    return _metric(slice, ECE, value, len(items), (float(low), float(high)))


def _bits(slice: str, items: Sequence[Item]) -> Metric:
    sizes = [len(item.expected[0].encode()) for item in items]
    nats = [-sum(item.logps) for item in items]
    value = likelihood.bits_per_byte(sum(nats), sum(sizes))
    at = cluster_index([item.group or item.id for item in items])
    parts = np.stack([np.bincount(at, weights=each) for each in (nats, sizes)], axis=1)
    drawn = resample(parts.astype(float), None, _RESAMPLES, seed=0)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1] / math.log(2), (0.025, 0.975))
    return _metric(slice, BITS, value, len(items), (float(low), float(high)))


def _labelled(suite: str, items: Sequence[Item]) -> Iterator[Metric]:
    if not items:
        return
    gold, said = [item.expected[0] for item in items], [item.label for item in items]
    cells, n = classes.confusion(gold, said, items[0].labels), len(items)
    drawn = np.random.default_rng(0).multinomial(n, (cells / n).ravel(), size=_RESAMPLES)
    spread = classes.figures(drawn.reshape(-1, *cells.shape).astype(float))
    for name, value in classes.figures(cells).items():
        low, high = np.quantile(spread[name], (0.025, 0.975))
        signature = MACRO_F1.replace("macro_f1", name, 1)
        yield _metric(suite, signature, float(value), n, (float(low), float(high)))
    yield _share(suite, UNPARSED, items, lambda item: item.label is None)


def _metric(slice: str, name: str, value: float, n: int, ends: tuple[float, float]) -> Metric:
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high)):
        # One cluster says nothing about spread, and an event holds no infinity.
        low, high, name = value, value, f"{name.rpartition('|')[0]}|ci:none"
    return Metric(
        slice=slice, name=name, value=value, n=n, low=min(value, low), high=max(value, high)
    )
