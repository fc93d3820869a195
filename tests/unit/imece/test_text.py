"""What counts as the right answer, in English and Turkish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.runtime.text import contains_answer, fold


@pytest.mark.parametrize(
    ("text", "expected", "question"),
    [
        ("The answer is 5.", "5", ""),
        ("2 + 2 = 4, not 5", "4", "What is 2+2?"),
        ("2 + 2 = 4", "4", ""),
        ("The sum of 2 and 2 is 4.", "4", "What is 2+2?"),
        ("two plus two is four", "4", "What is two plus two?"),
        ("2", "2", "What is 2 + 0?"),
        ("The answer is 3 because 6-3=3", "3", "What is 6 - 3?"),
        ("9 - 4 is 5", "5", "9 - 4?"),
        ("It is 1,000 metres.", "1000", ""),
        ("4.0", "4", ""),
        ("twenty-one", "21", ""),
        ("yirmi bir", "21", ""),
        ("Cevap dörttür.", "4", "2 + 2 kaç eder?"),
        ("Bir örümceğin 8 bacağı vardır", "8", ""),
        ("٤", "4", ""),
        ("The answer is Paris.", "Paris", ""),
        ("Paris'tir", "Paris", ""),
        ("Gökyüzü mavidir.", "mavi", ""),
        ("İSTANBUL", "istanbul", ""),
        ("ISPARTA", "Isparta", ""),
        ("ısparta", "Isparta", ""),
        ("It is New Delhi!", "New Delhi", ""),
        ("Water is H2O.", "H2O", ""),
    ],
)
def test_a_right_answer_is_found(text: str, expected: str, question: str) -> None:
    assert contains_answer(text, [expected], question)


@pytest.mark.parametrize(
    ("text", "expected", "question"),
    [
        ("15", "5", ""),
        ("5.5", "5", ""),
        ("2 + 2 = 4, not 5", "5", "What is 2+2?"),
        ("The sum of 2 and 2 is 5.", "4", "What is 2+2?"),
        ("Not 5 but 4", "4", ""),
        ("not Paris but Lyon", "Paris", ""),
        ("Paris değil", "Paris", ""),
        ("a parisian", "Paris", ""),
        ("Delhi", "New Delhi", ""),
        ("", "4", ""),
        ("", "Paris", ""),
        ("Paris", "", ""),
    ],
)
def test_a_wrong_answer_is_not_credited(text: str, expected: str, question: str) -> None:
    assert not contains_answer(text, [expected], question)


def test_any_of_several_spellings_counts() -> None:
    assert contains_answer("It is Brasilia.", ["Brasília", "Brasilia"])


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=0, max_value=10**9))
def test_a_number_matches_only_itself(said: int, expected: int) -> None:
    assert contains_answer(f"The answer is {said}.", [str(expected)]) == (said == expected)


@given(st.text())
def test_any_text_can_be_folded_and_searched(text: str) -> None:
    assert fold(fold(text)) == fold(fold(fold(text)))
    contains_answer(text, ["4", "Paris", text], text)
