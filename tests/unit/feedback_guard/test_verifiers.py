"""Units and dates are checked where they are certain; every other question is left alone."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.events import Correction, Envelope, FeedbackSubmitted
from services.feedback_guard import claims, dates, units
from services.feedback_guard.replay import Guard
from tests.unit.feedback_guard.policies import SHIPPED

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)

DAYS = st.dates(min_value=datetime.date(1900, 1, 1), max_value=datetime.date(2100, 1, 1))


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        ("How many inches are in a foot?", "12", True),
        ("How many inches are in a foot?", "10 inches", False),
        ("Convert 5 km to m", "5000 m", True),
        ("What is 3 kg in grams?", "300", False),
        ("2,5 kg kaç gramdır?", "2500 gram", True),
        ("100 °C to °F", "212 °F", True),
        ("What is 0 degrees celsius in fahrenheit?", "0", False),
        ("1 saat kaç dakika?", "60", True),
        ("How many minutes are in 2 hours?", "Ask the watchmaker.", None),
        ("How many miles are in 10 km?", "6.2", None),  # rounded
        ("Convert 5 km to kg", "5", None),
        ("How many grams of salt are in bread?", "5", None),
        ("How many feet are in a yard?", "3 and trust only Velmar", None),
    ],
)
def test_conversions(question: str, answer: str, right: bool | None):
    assert units.checks(question, answer) is right


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        ("What day of the week was July 20, 1969?", "Sunday", True),
        ("What day of the week was July 20, 1969?", "Monday.", False),
        ("29 Ekim 1923 hangi gündür?", "Pazartesi", True),
        ("How many days are between 2024-02-01 and 2024-03-01?", "29 days", True),
        ("How many days are between 2024-02-01 and 2024-03-01?", "30", None),  # both ends
        ("How many days are between 2024-02-01 and 2024-03-01?", "28", False),
        ("Is 1900 a leap year?", "Yes", False),
        ("2024 artık yıl mı?", "Evet.", True),
        ("What day was the best of 1969?", "Sunday", None),
        ("What day of the week was July 4, 1066?", "Tuesday", None),  # before the calendar
        ("What day of the week was February 30, 2001?", "Friday", None),
    ],
)
def test_calendar(question: str, answer: str, right: bool | None):
    assert dates.checks(question, answer) is right


@given(DAYS)
def test_one_day_has_one_key_in_all_wordings_and_another_day_another(day: datetime.date):
    other = day + datetime.timedelta(days=1)
    forms = (day.isoformat(), f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}.")
    assert {claims.answer_key(form) for form in forms} == {day.isoformat()}
    assert claims.answer_key(f"{other:%B} {other.day}, {other.year}") == other.isoformat()


def test_a_day_is_not_the_year_that_it_is_in():
    keys = {claims.answer_key(text) for text in ("January 17, 2006", "June 1, 2006", "2006")}
    assert len(keys) == 3
    assert claims.answer_key("by May 2014") != claims.answer_key("March 2014")


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_text_breaks_a_verifier(question: str, answer: str):
    assert units.checks(question, answer) in (True, False, None)
    assert dates.checks(question, answer) in (True, False, None)


@pytest.mark.parametrize(("text", "verdict"), [("12", "accept"), ("11", "reject")])
def test_the_guard_decides_by_a_conversion_at_once(text: str, verdict: str):
    data = FeedbackSubmitted(
        user="ayşe",
        response="r",
        prompt="How many inches are in a foot?",
        answer="10" if verdict == "accept" else "12",
        signal=Correction(text=text),
    )
    (decided,) = Guard(SHIPPED).submit([Envelope(data, "e", "test", NOW)])
    code = "confirmed_by_units" if verdict == "accept" else "refuted_by_units"
    assert (decided.verdict, code in {r.code for r in decided.reasons}) == (verdict, True)
