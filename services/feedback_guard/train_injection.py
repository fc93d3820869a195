"""Train the injection model: `python -m services.feedback_guard.train_injection DATA`.

Phrases of our own, and openly licensed texts (MIT, Apache, CC BY) of a data folder: CyberSecEval 2
and BIPIA (MIT), XSTest, banking77 and XCOPA (CC BY 4.0), GSM8K and LLMBar (MIT), PandaLM
(Apache-2.0). Texts under share-alike licences only test. Nothing but hashed weights is kept.
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

from services.feedback_guard import background, content, phrases
from services.feedback_guard.injection import (
    BUCKETS,
    SCALE,
    chains,
    encoded,
    pieces,
    share,
    spans,
    tokens,
)

COMMON = (
    "nedir nerede neresi neresidir kimdir kim kaç kaçtır hangi hangisi nasıl neden niçin ne zaman "
    "başkent başkenti şehir şehri ülke ülkesi ilk son yıl yılda gün ay saat sayı toplam büyük "
    "küçük uzun kısa yeni eski iyi kötü doğru yanlış cevap yanıt soru çünkü ama fakat eder yapar "
    "oldu olur olarak vardır yoktur en çok az daha türkiye ankara istanbul capital city country "
    "year answer author river president largest smallest first last wrote born died founded"
)
"""Ordinary words that the data lack."""
_ROUNDS, _STEPS, _RATE, _DECAY = 6, 80, 0.08, 0.5
_EVEN = 0.7
_MOST = 3  # spans that an ordinary text adds in a round
_ANSWER = 1_200  # characters that are read of a long answer
_SPAN = 3  # tokens of the shortest span that is learned from
_ASCII = str.maketrans("çğöşü", "cgosu")
Floats = np.ndarray[Any, np.dtype[np.float64]]
Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Example:
    """A text, where it comes from, which near copies it has, and whether it is an order."""

    source: str
    family: str
    text: str
    bad: bool
    off_topic: bool = False
    """Only a system prompt forbids it; CyberSecEval calls it logic-violating, not security."""


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
        off_topic = row["risk_category"] == "logic-violating"
        yield Example("cyberseceval", f"cse{number}", text, True, off_topic)
    for kind, texts in _json(folder / "injection/bipia-train.json").items():
        if kind not in PLAIN_TASKS:
            yield from (Example("bipia", f"bipia {text}", text, True) for text in texts)
    for text, source in dict(_ordinary(folder)).items():
        yield Example(source, text[:60], text, False)
    for (source, text), question in dict(_answers(folder)).items():
        yield Example(source, f"{source} {question[:60]}", text, False)


PLAIN_TASKS = (
    "Information Retrieval",
    "Content Creation",
    "Learning and Tutoring",
    "Language Translation",
    "Programming Help",
)
"""BIPIA's questions about other things ("What is the capital of Brazil?"); they order nothing."""


def _ordinary(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each text with its source."""
    with (folder / "injection/xstest.csv").open(encoding="utf-8") as file:
        yield from ((r["prompt"], "xstest") for r in csv.DictReader(file) if r["label"] == "safe")
    with (folder / "classification/banking77-test.csv").open(encoding="utf-8") as file:
        yield from ((row["text"], "banking77") for row in csv.DictReader(file))
    with (folder / "qa/gsm8k-test.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, list(file)[::2]):
            yield row["question"], "gsm8k"
            yield row["answer"].partition("\n")[0], "gsm8k"
    yield from ((text, "xcopa") for text in turkish(folder))


def _answers(folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield (source, answer) of models, with the question: answers to one stay together."""
    with (folder / "qa/gsm8k-model-solutions.jsonl").open(encoding="utf-8") as file:
        for row in map(json.loads, list(file)[::3]):
            said = next(v["solution"] for v in row.values() if isinstance(v, dict))
            yield ("solutions", said[:600]), row["question"]
    for row in _json(folder / "judge/pandalm-testset.json"):
        for side in ("response1", "response2"):
            yield ("pandalm", str(row[side])[:_ANSWER]), f"{row['instruction']}{row['input']}"
    for part in ("Natural", "MT-Bench"):
        for row in _json(folder / "judge/llmbar" / part / "dataset.json"):
            for side in ("output_1", "output_2"):
                yield ("llmbar", row[side][:_ANSWER]), row["input"]


@dataclass(frozen=True)
class _Text:
    """A text as buckets: those that end at word `n` are `buckets[begin[n]:begin[n + 1]]`."""

    buckets: Whole
    values: Floats
    begin: Whole
    spans: Whole


def _hashed(text: str) -> _Text:
    words = tokens(text)
    raw = [encoded(word) for word in words]
    hashes = [zlib.crc32(each) for each in raw]
    every, values = list[int](), list[float]()
    begin = [0]
    for at, each in enumerate(raw):
        whole, *runs = pieces(each.decode())
        pairs = chains(hashes, raw, at)
        every += [*runs, whole, *pairs]
        values += [share(len(runs))] * len(runs) + [1.0] * (1 + len(pairs))
        begin.append(len(every))
    cut = [(a, b) for a, b in spans(words) if b - a >= _SPAN]
    return _Text(
        np.array(every, dtype=np.int64),
        np.array(values),
        np.array(begin, dtype=np.int64),
        np.array(cut, dtype=np.int64).reshape(-1, 2),
    )


def fit(examples: Sequence[Example]) -> Floats:
    """Return weights by logistic regression, the bias last.

    A text is judged by its most suspicious span, so after the first round it is learned by that.
    Each source of orders weighs as much as its root, so that no large one drowns the others.
    """
    texts = [_hashed(content.plain(e.text)) for e in examples]
    kept = [n for n, text in enumerate(texts) if len(text.spans)]
    importance = dict(zip(kept, _importance([examples[n] for n in kept]), strict=True))
    picked = [(n, *map(int, texts[n].spans[0])) for n in kept]
    weights = np.zeros(BUCKETS + 1)
    for _ in range(_ROUNDS):
        chosen = [(texts[n], start, end) for n, start, end in picked]
        bad = np.array([float(examples[n].bad) for n, _, _ in picked])
        each = np.array([importance[n] for n, _, _ in picked])
        weights = _descend(chosen, bad, each, weights)
        innocent = [pick for pick in picked if not examples[pick[0]].bad]
        found = [
            (n, start, end)
            for n in kept
            for start, end in _worst(texts[n], weights, 1 if examples[n].bad else _MOST)
        ]
        picked = list(dict.fromkeys([*found, *innocent]))
    return weights


def _importance(examples: Sequence[Example]) -> Floats:
    counts: dict[tuple[str, bool], int] = {}
    for e in examples:
        counts[e.source, e.bad] = counts.get((e.source, e.bad), 0) + 1
    each = np.array([counts[e.source, e.bad] ** -_EVEN for e in examples])
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
    inside = [text.values[text.begin[a] : text.begin[b]] for text, a, b in rows]
    values = np.repeat([(b - a) ** -0.5 for _, a, b in rows], lengths) * np.concatenate(inside)
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


def _worst(text: _Text, weights: Floats, most: int) -> list[tuple[int, int]]:
    """Return the spans that the weights suspect most, none of which overlaps another."""
    inside = weights[text.buckets] * text.values
    sums = np.concatenate([[0.0], np.cumsum(inside)])[text.begin]
    start, end = text.spans[:, 0], text.spans[:, 1]
    odds = (sums[end] - sums[start]) / np.sqrt(end - start)
    found: list[tuple[int, int]] = []
    for at in np.argsort(-odds):
        first, last = int(start[at]), int(end[at])
        if all(last <= a or b <= first for a, b in found):
            found.append((first, last))
        if len(found) == most:
            break
    return found


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
    words = {word for text in [*ordinary, COMMON] for word in background.words_of(text)}
    _beside("background.bin").write_bytes(background.pack(words | _ordering()))
    _beside("injection.bin").write_bytes(pack(fit(examples)))
    sys.stdout.write(f"{len(examples)} examples\n")


def _ordering() -> set[str]:
    """Return the words of our orders, which glued ones are cut into; Turkish ones in ASCII too."""
    words = {w for _, text in phrases.written("orders.txt", 40) for w in background.words_of(text)}
    return words | {word.translate(_ASCII) for word in words}


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
