"""Training rows that give away a suite: counted, refused by policy, or not looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from imece.errors import JobError
from imece.events import (
    DatasetRef,
    EvaluationCase,
    Instruction,
    PreferencePair,
    Turn,
)
from imece.runtime import leaks
from imece.runtime.artifacts import Artifacts
from imece.runtime.contamination import taught
from tests.training import publish

KINDS = {"instruction"}
QUESTION = "Türkiye'nin başkenti neresidir acaba?"


def made(artifacts: Artifacts) -> tuple[DatasetRef, DatasetRef]:
    """Return training rows that give one of the two cases of a suite away, and the suite."""
    rows = [Instruction(prompt=f"Soru: {QUESTION}", response="Ankara")]
    cases = [
        EvaluationCase(prompt=QUESTION, expected=("Ankara",)),
        EvaluationCase(prompt="Dünyanın en yüksek dağı hangisidir?", expected=("Everest",)),
    ]
    suite = publish(artifacts, cases, dataset="suite", split="test")
    return publish(artifacts, rows), suite


def test_leaked_cases_are_counted_and_refused_by_policy(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    rows, suite = made(artifacts)
    assert leaks.check(artifacts, [suite], [rows], KINDS, "warn") == 1
    with pytest.raises(JobError, match="1 of 2 cases") as raised:
        leaks.check(artifacts, [suite], [rows], KINDS, "refuse")
    assert raised.value.reason == "contaminated"


def test_without_a_plan_or_a_readable_suite_nothing_is_known(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    rows, suite = made(artifacts)
    assert leaks.check(artifacts, [], [rows], KINDS, "refuse") is None
    assert leaks.check(artifacts, [suite], [rows], KINDS, "off") is None
    (tmp_path / "datasets/suite/manifest.json").unlink()
    assert leaks.check(artifacts, [suite], [rows], KINDS, "refuse") is None


def test_all_that_a_row_shows_is_looked_at() -> None:
    turns = (Turn(role="user", content="a"), Turn(role="assistant", content="b"))
    assert taught(Instruction(prompt="c", response="d", history=turns)) == (
        "a\nb\nc",
        "d",
    )
    assert taught(PreferencePair(prompt="p", chosen="x", rejected="y")) == (
        "p",
        "x\ny",
    )
    pair = PreferencePair(prompt="c", chosen="x", rejected="y", history=turns)
    assert taught(pair) == ("a\nb\nc", "x\ny")
