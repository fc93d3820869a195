"""Train the injection model: `python -m services.feedback_guard.train_injection DATA`.

Phrases of our own, and openly licensed texts (MIT, Apache, CC BY) of a data folder: CyberSecEval 2
and BIPIA (MIT), XSTest, banking77 and XCOPA (CC BY 4.0), GSM8K (MIT), PandaLM (Apache-2.0). Texts
under share-alike licences only test. Nothing but hashed weights is kept of any text.
"""

from __future__ import annotations

import csv
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.feedback_guard import background, phrases
from services.feedback_guard.injection import BUCKETS, SCALE, chains, pieces, spans, tokens

COMMON = (
    "nedir nerede neresi neresidir kimdir kim kaç kaçtır hangi hangisi nasıl neden niçin ne zaman "
    "başkent başkenti şehir şehri ülke ülkesi ilk son yıl yılda gün ay saat sayı toplam büyük "
    "küçük uzun kısa yeni eski iyi kötü doğru yanlış cevap yanıt soru çünkü ama fakat eder yapar "
    "oldu olur olarak vardır yoktur en çok az daha türkiye ankara istanbul capital city country "
    "year answer author river president largest smallest first last wrote born died founded"
)
"""Ordinary words that the data lack."""
_ROUNDS, _STEPS, _RATE, _DECAY = 3, 80, 0.08, 1.0
_SPAN = 3  # tokens of the shortest span that is learned from
Floats = np.ndarray[Any, np.dtype[np.float64]]
Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Example:
    """A text, where it comes from, which near copies it has, and whether it is an order."""

    source: str
    family: str
    text: str
    bad: bool


def authored() -> Iterator[Example]:
    """Yield our own phrases."""
    for family, text in phrases.written("orders.txt", 40):
        yield Example("authored", family, text, True)
    for family, text in phrases.written("ordinary.txt", 60):
        yield Example("authored", family, text, False)


def borrowed(folder: Path) -> Iterator[Example]:
    """Yield the injections and the ordinary texts of the data folder."""
    for number, row in enumerate(_json(folder / "injection/cyberseceval.json")):
        said = row["user_input"]
        text = "\n".join(said) if isinstance(said, list) else str(said)
        yield Example("cyberseceval", f"cse{number}", text, True)
    for kind, texts in _json(folder / "injection/bipia-train.json").items():
        if kind not in PLAIN_TASKS:
            yield from (Example("bipia", f"bipia {text}", text, True) for text in texts)
    for source, text in dict.fromkeys(_ordinary(folder)):
        yield Example(source, text[:60], text, False)


PLAIN_TASKS = (
    "Information Retrieval",
    "Content Creation",
    "Learning and Tutoring",
    "Language Translation",
    "Programming Help",
)
"""BIPIA's questions about other things ("What is the capital of Brazil?"); they order nothing."""


def _ordinary(folder: Path) -> Iterator[tuple[str, str]]:
    with (folder / "injection/xstest.csv").open(encoding="utf-8") as file:
        yield from (("xstest", r["prompt"]) for r in csv.DictReader(file) if r["label"] == "safe")
    with (folder / "classification/banking77-test.csv").open(encoding="utf-8") as file:
        yield from (("banking77", row["text"]) for row in csv.DictReader(file))
    with (folder / "qa/gsm8k-test.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, list(file)[::2]):
            yield "gsm8k", row["question"]
            yield "gsm8k", row["answer"].partition("\n")[0]
    for row in _json(folder / "judge/pandalm-testset.json"):
        yield "pandalm", str(row["response1"])[:600]
        yield "pandalm", str(row["response2"])[:600]
    yield from (("xcopa", text) for text in turkish(folder))


@dataclass(frozen=True)
class _Text:
    """A text as buckets: those that end at word `n` are `buckets[begin[n]:begin[n + 1]]`."""

    buckets: Whole
    begin: Whole
    spans: Whole


def _hashed(text: str) -> _Text:
    words = tokens(text)
    encoded = [word.encode() for word in words]
    hashes = [zlib.crc32(raw) for raw in encoded]
    every = [(*pieces(word), *chains(hashes, encoded, at)) for at, word in enumerate(words)]
    begin = np.cumsum([0, *map(len, every)], dtype=np.int64)
    cut = [(a, b) for a, b in spans(words) if b - a >= _SPAN]
    return _Text(
        np.array([bucket for found in every for bucket in found], dtype=np.int64),
        begin,
        np.array(cut, dtype=np.int64).reshape(-1, 2),
    )


def fit(examples: Sequence[Example]) -> Floats:
    """Return weights by logistic regression, the bias last.

    A text is judged by its most suspicious span, so after the first round it is learned by that.
    Each source of orders weighs as much as its root, so that no large one drowns the others.
    """
    texts = [_hashed(e.text) for e in examples]
    kept = [n for n, text in enumerate(texts) if len(text.spans)]
    bad = np.array([float(examples[n].bad) for n in kept])
    importance = _importance([examples[n] for n in kept])
    picked = [tuple(texts[n].spans[0]) for n in kept]
    weights = np.zeros(BUCKETS + 1)
    for _ in range(_ROUNDS):
        chosen = [(texts[n], *cut) for n, cut in zip(kept, picked, strict=True)]
        weights = _descend(chosen, bad, importance, weights)
        picked = [_worst(texts[n], weights) for n in kept]
    return weights


def _importance(examples: Sequence[Example]) -> Floats:
    counts: dict[tuple[str, bool], int] = {}
    for e in examples:
        counts[e.source, e.bad] = counts.get((e.source, e.bad), 0) + 1
    each = np.array([counts[e.source, e.bad] ** -0.5 for e in examples])
    bad = np.array([e.bad for e in examples])
    each[bad] /= each[bad].sum()
    each[~bad] /= each[~bad].sum()
    return each * len(examples) / 2


def _descend(
    rows: Sequence[tuple[_Text, int, int]], bad: Floats, importance: Floats, weights: Floats
) -> Floats:
    """Minimise the weighted log loss with Adam, all rows at once."""
    parts = [text.buckets[text.begin[a] : text.begin[b]] for text, a, b in rows]
    columns = np.concatenate(parts)
    lengths = np.array([len(part) for part in parts])
    places = np.repeat(np.arange(len(parts)), lengths)
    values = np.repeat([(b - a) ** -0.5 for _, a, b in rows], lengths)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, _STEPS + 1):
        odds: Floats = np.bincount(places, values * weights[columns], len(parts)) + weights[-1]
        error = (1 / (1 + np.exp(-np.clip(odds, -30, 30))) - bad) * importance / len(parts)
        drawn = _DECAY / len(parts) * weights
        slope = np.bincount(columns, values * error[places], len(weights)) + drawn
        slope[-1] = error.sum()
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope * slope
        fair = mean / (1 - 0.9**step), square / (1 - 0.99**step)
        weights = weights - _RATE * fair[0] / (np.sqrt(fair[1]) + 1e-9)
    return weights


def _worst(text: _Text, weights: Floats) -> tuple[int, int]:
    """Return the span that the weights suspect most."""
    sums = np.concatenate([[0.0], np.cumsum(weights[text.buckets])])[text.begin]
    start, end = text.spans[:, 0], text.spans[:, 1]
    at = int(np.argmax((sums[end] - sums[start]) / np.sqrt(end - start)))
    return int(start[at]), int(end[at])


def pack(weights: Sequence[float] | Floats) -> bytes:
    """Return weights as signed bytes."""
    return bytes(max(-127, min(127, round(float(w) * SCALE))) & 0xFF for w in weights)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str]) -> None:
    """Train and write the weights beside this module."""
    folder = Path(arguments[0])
    examples = [*authored(), *borrowed(folder)]
    ordinary = [e.text for e in examples if not e.bad]
    words = {word for text in ordinary for word in background.words_of(text)}
    _beside("background.bin").write_bytes(background.pack(words.union(background.words_of(COMMON))))
    _beside("injection.bin").write_bytes(pack(fit(examples)))
    sys.stdout.write(f"{len(examples)} examples\n")


def turkish(folder: Path) -> list[str]:
    """Return Turkish texts (XCOPA, CC BY 4.0)."""
    found = []
    for part in ("val", "test"):
        with (folder / f"turkish/xcopa-tr-{part}.jsonl").open(encoding="utf-8") as file:
            found += [" ".join(map(str, json.loads(line).values())) for line in file]
    return found


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


if __name__ == "__main__":
    main(sys.argv[1:])
