"""The real data that the streams are made of; nothing of it is kept in the repository."""

from __future__ import annotations

import csv
import json
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST = 400
_NEGATIVES = 3_000


@dataclass(frozen=True)
class Item:
    """One question with what people judged right, arguable and wrong."""

    question: str
    right: str
    wrong: tuple[str, ...]
    arguable: str | None = None
    sums: bool = False
    """A word problem; the wrong answers are those of real models."""


@dataclass(frozen=True)
class Vote:
    """One real vote of a paid worker, with the truth."""

    worker: str
    item: str
    said: str
    truth: str


@dataclass(frozen=True)
class Material:
    """All that the benchmark reads."""

    items: tuple[Item, ...]
    votes: tuple[Vote, ...]
    injections: tuple[tuple[str, str], ...]
    """Source and text."""
    harmless: tuple[tuple[str, str], ...]
    harmful: tuple[str, ...]
    """Requests that must not be obeyed."""

    @property
    def accuracies(self) -> tuple[float, ...]:
        """How often each worker with at least 20 votes was right."""
        told: dict[str, list[bool]] = defaultdict(list)
        for vote in self.votes:
            told[vote.worker].append(vote.said == vote.truth)
        return tuple(sum(v) / len(v) for v in told.values() if len(v) >= 20)


def load(folder: Path) -> Material:
    """Read the data folder; `FileNotFoundError` names the file that is missing."""
    items = [*_efficientqa(folder / "qa/efficientqa.jsonl"), *_sums(folder / "qa")]
    random.Random(7).shuffle(items)
    with (folder / "crowd/SP.csv").open(encoding="utf-8") as file:
        votes = tuple(Vote(*row) for row in csv.reader(file))
    return Material(
        tuple(items),
        votes,
        tuple(_injections(folder / "injection")),
        tuple(_harmless(folder)),
        tuple(_requests(folder, "unsafe")),
    )


def one_says_the_other(one: str, other: str) -> bool:
    """Tell whether all words of one are in the other: "1978" is no lie about "since 1978"."""
    first, second = (set(re.findall(r"\w+", text.casefold())) for text in (one, other))
    return first <= second or second <= first


def usable(text: str) -> str | None:
    """Return the text as an event can carry it, or None."""
    clean = " ".join(text.replace("\\", "").split()).strip('" ')
    known = all(unicodedata.category(c) not in ("Cc", "Cf", "Cs") for c in clean)
    return clean[:_LONGEST] if clean and known else None


def _efficientqa(path: Path) -> Iterable[Item]:
    for row in _lines(path):
        right = _first(row["answer"])
        told = map(usable, row["def_incorrect_predictions"])
        wrong = [w for w in told if w and right and not one_says_the_other(w, right)]
        question = usable(row["question"])
        if right and wrong and question:
            yield Item(question, right, tuple(wrong), _first(row["poss_correct_predictions"]))


def _sums(folder: Path) -> Iterable[Item]:
    for row in _lines(folder / "gsm8k-model-solutions.jsonl"):
        right = _last_number(row["ground_truth"])
        tried = [v for v in row.values() if isinstance(v, dict) and not v["is_correct"]]
        wrong = [n for n in (_last_number(v["solution"]) for v in tried) if n and n != right]
        question = " ".join(row["question"].split())
        if right and wrong:
            yield Item(question, right, tuple(dict.fromkeys(wrong)), sums=True)


def _last_number(solution: str) -> str | None:
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", solution.rpartition("A:")[2])
    return found[-1].replace(",", "").removesuffix(".0") if found else None


def _injections(folder: Path) -> Iterable[tuple[str, str]]:
    for row in json.loads((folder / "cyberseceval.json").read_text(encoding="utf-8")):
        text = row["user_input"]
        yield "cyberseceval", "\n".join(text) if isinstance(text, list) else str(text)
    for texts in json.loads((folder / "bipia-train.json").read_text(encoding="utf-8")).values():
        yield from (("bipia", text) for text in texts)


def _harmless(folder: Path) -> Iterable[tuple[str, str]]:
    yield from (("xstest", text) for text in _requests(folder, "safe"))
    with (folder / "classification/banking77-train.csv").open(encoding="utf-8") as file:
        yield from _some(("banking77", row["text"]) for row in csv.DictReader(file))
    yield from _some(("nq", row["question"]) for row in _lines(folder / "qa/nq-open-dev.jsonl"))
    yield from _some(
        ("answer", row["answer"][0]) for row in _lines(folder / "qa/nq-open-dev.jsonl")
    )
    yield from _some(
        ("gsm8k", row["answer"][:_LONGEST]) for row in _lines(folder / "qa/gsm8k-test.jsonl")
    )


def _requests(folder: Path, label: str) -> Iterable[str]:
    with (folder / "injection/xstest.csv").open(encoding="utf-8") as file:
        yield from (row["prompt"] for row in csv.DictReader(file) if row["label"] == label)


def _some(texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    every = list(texts)
    return random.Random(3).sample(every, min(_NEGATIVES, len(every)))


def _first(texts: Sequence[str]) -> str | None:
    return next((t for t in map(usable, texts) if t), None)


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
