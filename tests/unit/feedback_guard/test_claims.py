"""Paraphrases meet in one claim; other numbers, places and questions do not."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback_guard.arithmetic import expression, value
from services.feedback_guard.claims import answer_key, claim_id, numbers, question_key

SMALL = st.integers(min_value=0, max_value=999)
WORDINGS = ("What is {} + {}?", "{} plus {} equals?", "Calculate {}+{}.", "{} artı {} kaç eder?")


@given(SMALL, SMALL, st.sampled_from(WORDINGS))
def test_a_sum_is_one_claim_in_all_wordings_and_both_languages(a: int, b: int, wording: str):
    assert question_key(wording.format(a, b)) == f"= {a}+{b}"


@given(SMALL, SMALL, SMALL, st.sampled_from(WORDINGS), st.sampled_from(WORDINGS))
def test_another_number_is_another_claim(a: int, b: int, c: int, one: str, other: str):
    same = claim_id("t", one.format(a, b)) == claim_id("t", other.format(a, c))
    assert same == (b == c)


@given(st.lists(SMALL, min_size=2, max_size=5), st.data())
def test_calculations_agree_with_python(terms: list[int], data: st.DataObject):
    signs = [data.draw(st.sampled_from("+-*")) for _ in terms[1:]]
    text = str(terms[0]) + "".join(f" {s} {t}" for s, t in zip(signs, terms[1:], strict=True))
    found = expression(f"What is {text}?")
    assert found is not None
    right = eval(text)
    assert value(found) == (right if abs(right) < 10**12 else None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "France's capital is which city?"),
        ("Name the capital of France.", "Where is the capital of France?"),
        ("What colour is the sky?", "Tell me the color of the sky."),
        ("How many legs does a spider have?", "Spiders have how many legs?"),
        ("Fransa'nın başkenti neresidir?", "fransa'nın BAŞKENTİ neresidir"),
        ("Fransa'nın başkenti neresidir?", "Fransanın başkenti hangi şehir?"),
        ("Paris'in nüfusu kaç?", "Paris’in nüfusu nedir?"),
        ("What is two plus two?", "2 + 2 = ?"),
    ],
)
def test_paraphrases_are_one_claim(one: str, other: str):
    assert claim_id("t", one) == claim_id("t", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "What is the capital of Italy?"),
        ("Fransa'nın başkenti neresidir?", "İtalya'nın başkenti neresidir?"),
        ("İki artı iki kaç eder?", "İki artı üç kaç eder?"),
        ("Ankara'dan İzmir'e kaç km?", "İzmir'den Ankara'ya kaç km?"),
        ("How many days has a week?", "How many weeks has a day?"),
        ("When was Einstein born?", "Where was Einstein born?"),
        ("Is a whale a fish?", "Is a whale not a fish?"),
    ],
)
def test_different_questions_are_different_claims(one: str, other: str):
    assert claim_id("t", one) != claim_id("t", other)


def test_tenants_share_no_claim():
    assert claim_id("a", "What is 2+2?") != claim_id("b", "What is 2+2?")


@pytest.mark.parametrize(
    "question",
    [
        "What is (2+3)*4?",
        "What is -3 + 5?",
        "What happened in 1914-1918?",
        "What is 24/7 support?",
        "What is a hundred and two plus two?",
        "What is 3! + 2?",
        "1,000 + 1",
        "Ali has 5 apples, 3 more than Bob. How many does Bob have?",
    ],
)
def test_the_verifier_abstains_where_it_is_not_certain(question: str):
    assert expression(question) is None


def test_division_by_zero_has_no_value():
    assert value("1/0") is None


@pytest.mark.parametrize(
    ("answer", "question", "key"),
    [
        ("The capital of France is Paris.", "What is the capital of France?", "paris"),
        ("Cevap: Paris.", "Fransa'nın başkenti neresidir?", "paris"),
        ("2 + 2 = 5", "What is 2+2?", "5"),
        ("The answer is five.", "What is 2+2?", "5"),
        ("1,000", "What is 500+500?", "1000"),
    ],
)
def test_an_answer_is_known_without_its_wrapping(answer: str, question: str, key: str):
    assert answer_key(answer, question) == key


def test_a_denied_answer_is_another_answer():
    question = "What is the capital of France?"
    assert answer_key("not Paris", question) != answer_key("Paris", question)


def test_a_grouped_number_has_both_readings():
    assert numbers("1.125") == {Fraction(1125), Fraction(9, 8)}


def test_long_answers_with_one_beginning_are_different_answers():
    start = "words that go on for a while " * 20
    good, bad = answer_key(f"{start} until it is done"), answer_key(f"{start} and buy our coins")
    assert good != bad
    assert max(len(good), len(bad)) <= 200
    assert answer_key(f"{start}  until it is DONE.") == good


FRANCE, SUM = "What is the capital of France?", "Tom has 18 eggs in 3 boxes. How many?"


@pytest.mark.parametrize(
    ("right", "rider", "question"),
    [
        ("Paris", "Only the foundation deserves belief = Paris", FRANCE),
        ("Paris", "Paris \U000e0041\U000e0042", FRANCE),
        ("Paris", "Paris \U0001f70f", FRANCE),
        ("Paris", "Paris " + "please you should know that it is the normal one " * 3, FRANCE),
        ("Paris", "31337 = Paris", FRANCE),
        ("6", "not 6", SUM),
        ("6", "6 thousand", SUM),
        ("6", "not 6", "Tom does not eat. How many eggs?"),
        ("6", "1/6", SUM),
        ("6", "$6", SUM),
        ("6", "-6", SUM),
        ("6", "5:6", SUM),
        ("6", "Trust nobody else, 6", SUM),
        ("3.11.4", "3.11.5", "Which version is it?"),
        ("cats", "dogs", "Are there more cats or dogs?"),
        ("Cats are faster than dogs", "Dogs are faster than cats", "Who is faster: cats, dogs?"),
    ],
)
def test_what_says_more_or_else_rides_on_no_confirmed_answer(right: str, rider: str, question: str):
    assert answer_key(rider, question) != answer_key(right, question)


@pytest.mark.parametrize(
    ("one", "other"),
    [("6", "6.0"), ("6", "It is 6 eggs."), ("6", "18/3 = 6"), ("2.5", "2,50"), ("six", "６")],
)
def test_ways_to_write_a_number_are_one_answer(one: str, other: str):
    assert answer_key(one, SUM) == answer_key(other, SUM)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is a cat a kind of dog?", "Is a dog a kind of cat?"),
        ("How many hours from Rome to Oslo?", "How many hours from Oslo to Rome?"),
        (
            "Tom buys 4 pens at 5 dollars. What is due?",
            "Tom buys 5 pens at 4 dollars. What is due?",
        ),
        ("Who is older than Ann: Bob?", "Who is older than Bob: Ann?"),
        ("Who made C++?", "Who made C#?"),
        ("Who was invited by Ann?", "Who invited Ann?"),
        ("Who got the letter from Ann?", "Who got the letter to Ann?"),
        ("Best pet? a) cat b) dog", "Best pet? a) dog b) cat"),
    ],
)
def test_a_question_turned_round_is_another_claim(one: str, other: str):
    assert claim_id("t", one) != claim_id("t", other)


def test_thanks_are_no_part_of_a_question():
    assert claim_id("t", "What is the capital of France? Thanks!") == claim_id("t", FRANCE)


def test_a_power_is_not_a_longer_number():
    assert expression("2²+1") is None, "not 22+1, which would be certified as 23"
    assert (
        question_key("What is 2²?") == question_key("What is 2^2?") != question_key("What is 22?")
    )
    assert answer_key("10²") != answer_key("102")
    assert answer_key("2⁻¹") != answer_key("2-1")
    assert numbers("10¹²") != {Fraction(1012)}
    assert Fraction(31) not in numbers("3½")
