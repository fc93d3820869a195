"""A calibrated judge may show the one advantage; without a calibration it only ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.events import Check, JudgementCompleted, derived_id
from services.evaluator import blind, gate
from services.evaluator.core import Item
from services.evaluator.policy import PreferencePolicy
from services.evaluator.preferred import preferred
from tests.unit.evaluator.builders import items, judged
from tests.unit.evaluator.test_gate import POLICY, SAFE

JUDGE = PreferencePolicy(alpha=0.05, power=0.8, covered=0.7)
CLEAN = items([True] * 60)


def verdict(number: int, wins: str, **changes: Any) -> JudgementCompleted:
    """Say which model's answer to the item of that number is better; `wins` may be a tie."""
    item = derived_id("e", CLEAN[number].id)
    side = "a" if (wins == "candidate") == blind.candidate_is_a("e", item) else "b"
    said = side if wins in ("candidate", "baseline") else wins
    fields: dict[str, Any] = {"weak": False, "calibration": "sha256:c", **changes}
    return judged(item, said).model_copy(update=fields)


def votes(won: int, lost: int, ties: int = 0, **changes: Any) -> list[JudgementCompleted]:
    names = ["candidate"] * won + ["baseline"] * lost + ["tie"] * ties
    return [verdict(number, name, **changes) for number, name in enumerate(names)]


def decide(told: list[JudgementCompleted], asked: int) -> tuple[str, dict[str, Check]]:
    policy = POLICY.model_copy(update={"preference": JUDGE, "non_inferiority": None})
    same = CLEAN + SAFE
    result, checks = gate.decide(same, same, told, asked, policy)
    return result, {check.name: check for check in checks}


def test_preferred_answers_promote_where_graded_ones_differ_in_nothing() -> None:
    result, checks = decide(votes(30, 10, 5), 50)
    assert result == "promote"
    assert checks["superiority"].numbers["wins"] == 30
    assert gate.INFORMATIVE not in checks


@pytest.mark.parametrize(
    "changes", [{"calibration": None}, {"weak": True}, {"verdict": "unscored"}], ids=str
)
def test_without_a_calibration_a_judge_never_promotes(changes: dict[str, Any]) -> None:
    result, checks = decide(votes(45, 0, **changes), 45)
    assert result == "inconclusive"
    assert checks["superiority"].numbers["covered"] == 0
    assert "calibrate" in checks["superiority"].detail


def test_too_few_covered_verdicts_withhold_however_clear_they_are() -> None:
    told = [*votes(30, 0), *(verdict(n, "candidate", calibration=None) for n in range(30, 50))]
    assert decide(told, 50)[0] == "inconclusive"
    assert decide(told[:30], 40)[0] == "promote"


def test_to_be_shown_worse_rejects_and_a_doubt_says_how_many_more() -> None:
    assert decide(votes(10, 30), 45)[0] == "reject"
    result, checks = decide(votes(22, 14), 40)
    assert result == "inconclusive"
    assert checks["superiority"].numbers["needed"] > 36
    assert decide(votes(0, 0, 40), 40)[1]["superiority"].detail.endswith("no advantage was seen")


def test_a_suspected_trick_counts_against_the_candidate() -> None:
    trick = {"verdict": "unscored", "calibration": None, "flags": ("suspected_injection",)}
    told = [*votes(20, 8), *(verdict(n, "tie", **trick) for n in range(28, 40))]
    assert decide(told, 40)[1]["superiority"].numbers["losses"] == 20


def test_nothing_that_was_asked_shows_nothing() -> None:
    result, checks = decide([], 0)
    assert (result, checks["superiority"].outcome) == ("inconclusive", "inconclusive")


def test_verdicts_about_one_document_are_no_proof() -> None:
    documents: list[Item] = [replace(item, group=str(n // 10)) for n, item in enumerate(CLEAN)]
    alone = preferred(CLEAN, votes(28, 12), 40, JUDGE)
    grouped = preferred(documents, votes(28, 12), 40, JUDGE)
    assert alone.outcome == "passed"
    assert grouped.outcome == "inconclusive"
    assert "4 groups" in grouped.detail


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(60, 80))
def test_it_never_fails_and_promotes_only_what_wins(
    won: int, lost: int, ties: int, asked: int
) -> None:
    check = preferred(CLEAN, votes(won, lost, ties), asked, JUDGE)
    assert check.outcome != "passed" or won > lost
    assert Check.model_validate_json(check.model_dump_json()) == check
