"""What feedback becomes: one row serves supervised and preference training."""

from __future__ import annotations

from typing import Any

import pytest

from imece.events import (
    Correction,
    FeedbackSubmitted,
    Instruction,
    PreferencePair,
    Rated,
    Rating,
    Thumb,
    training_row,
)


def row(signal: Any) -> Any:
    data = {"user": "u", "response": "r", "prompt": "p", "answer": "shown", "signal": signal}
    return training_row(FeedbackSubmitted.model_validate(data))


@pytest.mark.parametrize(
    ("signal", "wanted"),
    [
        (Thumb(up=True), True),
        (Thumb(up=False), False),
        (Rating(stars=5), True),
        (Rating(stars=4), True),
        (Rating(stars=2), False),
        (Rating(stars=1), False),
    ],
)
def test_a_thumb_or_stars_say_whether_the_answer_is_wanted(signal: Any, wanted: bool) -> None:
    assert row(signal) == Rated(prompt="p", response="shown", desirable=wanted)


def test_three_stars_say_nothing() -> None:
    assert row(Rating(stars=3)) is None


def test_a_correction_is_preferred_to_what_was_shown() -> None:
    assert row(Correction(text="right")) == PreferencePair(
        prompt="p", chosen="right", rejected="shown"
    )


def test_a_correction_that_changes_nothing_confirms_the_answer() -> None:
    assert row(Correction(text="shown")) == Instruction(prompt="p", response="shown")
