"""Leaks of suites into training rows are found whatever their form, and chance is not a leak."""

from __future__ import annotations

import unicodedata

import pytest

from imece.events import Document, EvaluationCase, LabelledExample
from imece.runtime import contamination
from imece.runtime.contamination import find

LONG = (
    "Türkiye'nin en uzun nehri olan Kızılırmak hangi ilden doğar ve hangi denize dökülür,"
    " bunu haritaya bakmadan söyleyebilir misin?"
)
SHORT = "Kartım neden hâlâ gelmedi acaba?"


@pytest.mark.parametrize(
    ("case", "prompt", "response", "by"),
    [
        (SHORT, SHORT, "Yolda.", "whole"),
        (SHORT, unicodedata.normalize("NFD", SHORT.upper()), "Yolda.", "whole"),
        (SHORT, f"Soru: {SHORT} Lütfen söyle.", "Yolda.", "words"),
        (SHORT, "Bir soru sor.", f"  {SHORT.lower()} ", "words"),
        (LONG, f"Merhaba! {LONG[:105]}", "Sivas", "words"),
        (LONG, LONG[30:90], "Sivas", "characters"),
        ("2+2?", "2 + 2", "4", "whole"),
    ],
)
def test_a_case_in_a_training_row_is_found(case: str, prompt: str, response: str, by: str) -> None:
    (hit,) = find({"c": case}, [("other", "Başka bir şey", "Tamam"), ("r", prompt, response)])
    assert (hit.case, hit.row, hit.by) == ("c", "r", by)


@pytest.mark.parametrize(
    ("case", "prompt"),
    [
        ("2+2?", "2+2?3 nedir, bir de 2+2?4 nedir"),
        (SHORT, "Kartım neden hâlâ çalışmıyor acaba?"),
        (LONG, LONG[:40]),
        ("", ""),
    ],
)
def test_what_is_only_alike_is_not_a_leak(case: str, prompt: str) -> None:
    assert find({"c": case}, [("r", prompt, "cevap")] if case else []) == []


def test_a_case_is_told_once_and_in_order() -> None:
    cases = {"b": SHORT, "a": LONG}
    rows = [("1", LONG, ""), ("2", SHORT, ""), ("3", SHORT, "")]
    assert [(hit.case, hit.row) for hit in find(cases, rows)] == [("b", "2"), ("a", "1")]


def test_the_text_that_must_not_leak_depends_on_the_kind_of_row() -> None:
    case = EvaluationCase(prompt="p", expected=("e",))
    of = contamination.question_of
    assert of(case) == "p"
    assert of(case.model_copy(update={"scoring": "bits"})) == "e"
    assert of(LabelledExample(text="t", label="l")) == "t"
    assert of(Document(text="d")) is None
