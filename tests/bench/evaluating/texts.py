"""E1 to E3, E9, E10: texts in any script, accounting of lost answers, planted leaks."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sacrebleu.metrics.chrf import CHRF

from imece.runtime import contamination
from services.evaluator import metrics
from services.evaluator.core import Question, grade, unscored
from services.evaluator.scores import overlap, translation
from services.evaluator.scores.similarity import NgramVectors
from tests.bench.results import Row

_SWAPS = {"ş": "ç", "ç": "ş", "ü": "ö", "ö": "ü", "ğ": "ş", "ı": "ü"}
_ASCII = ["the", "cat", "sat", "on", "a", "mat", "dog's", "x_y", "12", "3.5", "run", "running"]


def rows(data: Path) -> Iterator[Row]:
    """Yield the rows; those that need data say so when it is missing."""
    yield from _letters(data)
    yield from _equality()
    yield from _forms(data)
    yield _accounts()
    yield from _leaks(data)


def _turkish(data: Path) -> list[str]:
    body = json.loads((data / "turkish/xquad-tr.json").read_text("utf-8-sig"))
    return [
        qa["question"]
        for article in body["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def _letters(data: Path) -> Iterator[Row]:
    bar = "0"
    try:
        questions = _turkish(data)
    except FileNotFoundError as error:
        yield Row("E1.false_perfect", None, "pairs of 100", bar, note=f"no {error.filename}")
        return
    words = sorted({w for q in questions for w in overlap.words(q, "tr") if set(w) & set(_SWAPS)})
    pairs = [(word, _swapped(word)) for word in random.Random(0).sample(words, 100)]
    false = sum(overlap.rouge_n(a, b, 1, "tr") == 1.0 for a, b in pairs)
    yield Row("E1.false_perfect", false, "pairs of 100", bar, false == 0, baselines=_theirs(pairs))


def _swapped(word: str) -> str:
    at = next(i for i, letter in enumerate(word) if letter in _SWAPS)
    return word[:at] + _SWAPS[word[at]] + word[at + 1 :]


def _theirs(pairs: list[tuple[str, str]]) -> dict[str, float]:
    oracle = _oracle()
    if oracle is None:
        return {}
    scored = [oracle.score(a, b)["rouge1"] for a, b in pairs]
    return {"rouge_score": sum(each.fmeasure == 1.0 for each in scored)}


def _oracle() -> Any:
    """Return rouge_score's scorer where somebody installed it; it is no dependency."""
    try:
        module = importlib.import_module("rouge_score.rouge_scorer")
    except ModuleNotFoundError:
        return None
    return module.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])


def _equality() -> Iterator[Row]:
    oracle, chance = _oracle(), random.Random(1)
    pairs = [(_ascii(chance), _ascii(chance)) for _ in range(1000)]
    if oracle is None:
        yield Row("E2.rouge", None, "difference", "<= 1e-9", note="rouge_score is not installed")
    else:
        worst = max(_rouge_gap(oracle, *pair) for pair in pairs)
        yield Row("E2.rouge", worst, "difference", "<= 1e-9", worst <= 1e-9)
    plain = CHRF()
    worst = max(
        abs(plain.sentence_score(a, [b]).score - translation.of_item("chrf", a, [b]))
        for a, b in pairs
    )
    yield Row("E2.sacrebleu", worst, "difference", "<= 1e-9", worst <= 1e-9, note="chrF")


def _ascii(chance: random.Random) -> str:
    return "\n".join(" ".join(chance.choices(_ASCII, k=chance.randint(1, 12))) for _ in range(3))


def _rouge_gap(oracle: Any, said: str, wanted: str) -> float:
    theirs = oracle.score(wanted, said)
    ours = {
        "rouge1": overlap.rouge_n(said, wanted, 1),
        "rouge2": overlap.rouge_n(said, wanted, 2),
        "rougeL": overlap.rouge_l(said, wanted),
        "rougeLsum": overlap.rouge_lsum(said, wanted),
    }
    return max(abs(value - theirs[name].fmeasure) for name, value in ours.items())


def _forms(data: Path) -> Iterator[Row]:
    try:
        texts = _turkish(data)[:200]
    except FileNotFoundError as error:
        yield Row("E3.largest_change", None, "of the score", "0", note=f"no {error.filename}")
        return
    vectors = NgramVectors(texts, "tr")
    scores: list[Callable[[str, str], float]] = [
        lambda a, b: overlap.rouge_n(a, b, 1, "tr"),
        lambda a, b: overlap.rouge_n(a, b, 2, "tr"),
        lambda a, b: overlap.rouge_l(a, b, "tr"),
        lambda a, b: overlap.rouge_lsum(a, b, "tr"),
        lambda a, b: overlap.token_f1(a, [b], "tr"),
        lambda a, b: translation.of_item("bleu", a, [b]),
        lambda a, b: translation.of_item("chrf", a, [b]),
        lambda a, b: translation.of_item("ter", a, [b]),
        vectors.similarity,
    ]
    change = 0.0
    for text, other in itertools.pairwise(texts):
        apart = unicodedata.normalize("NFD", text)
        change = max(change, *(abs(s(text, other) - s(apart, other)) for s in scores))
    apart_all = [unicodedata.normalize("NFD", text) for text in texts]
    theirs = CHRF().corpus_score(apart_all, [texts]).score
    yield Row(
        "E3.largest_change",
        change,
        "of the score",
        "0",
        change == 0,
        baselines={"sacrebleu_chrf_of_equal_texts": float(theirs)},
    )


def _accounts() -> Row:
    chance, wrong = random.Random(2), 0
    reasons = ["timeout", "rate_limited", "bad_json", "endpoint_failed"]
    for _ in range(500):
        asked = Question("s/1", "s", "q", ("a",), "all")
        items = [
            unscored(asked, chance.choice(reasons)) if chance.random() < 0.3 else grade(asked, "a")
            for _ in range(chance.randint(1, 40))
        ]
        found = metrics.account(items)
        told = {m.name for m in metrics.measure(items)}
        lost = {f"unscored|reason:{reason}|ci:" for reason in found.unscored}
        whole = found.attempted == found.scored + sum(found.unscored.values()) == len(items)
        wrong += not whole or any(not any(n.startswith(each) for n in told) for each in lost)
    return Row("E9.unaccounted", wrong, "reports of 500", "0", wrong == 0)


def _leaks(data: Path) -> Iterator[Row]:
    try:
        with (data / "classification/banking77-test.csv").open(encoding="utf-8") as file:
            cases = [row["text"] for row in csv.DictReader(file)]
        lines = (data / "qa/nq-open-dev.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        for name in ("E10.recall", "E10.false_positives"):
            yield Row(name, None, "share", note=f"no {error.filename}")
        return
    ours = [json.loads(line)["question"] for line in lines]
    forms = (str, str.upper, lambda t: f"{t}?!", lambda t: unicodedata.normalize("NFD", t))
    chance = random.Random(3)
    planted = {f"leak{i}": forms[i % 4](t) for i, t in enumerate(chance.sample(ours, 50))}
    honest = {f"case{i}": text for i, text in enumerate(cases[: 3080 - 50])}
    rows = [(str(i), text, "") for i, text in enumerate(ours)]
    found = {hit.case for hit in contamination.find(honest | planted, rows)}
    recall = len(found & set(planted)) / len(planted)
    false = len(found & set(honest)) / len(honest)
    note = "of 50, as they are, in capitals, with marks, decomposed"
    equal = len(set(planted.values()) & set(ours)) / len(planted)
    beside = {"equal strings": equal}
    yield Row("E10.recall", recall, "share", ">= 0.99", recall >= 0.99, None, beside, note)
    yield Row("E10.false_positives", false, "share", "<= 0.005", false <= 0.005)
