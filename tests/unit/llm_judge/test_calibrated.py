"""Which verdicts a calibration covers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imece.calibration.core import Calibration, Labelled, build
from imece.errors import ConfigError
from imece.events import JudgementCompleted
from services.llm_judge.calibrated import EXPIRED, FEWEST, Marker, load

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def calibration() -> Calibration:
    row = {"verdict": "a", "confidence": 1.0, "people": ["a"], "slice": "maths"}
    rows = [Labelled.model_validate({**row, "item": f"i{n}"}) for n in range(30)]
    return build(rows, judge="j", prompt_version="p", now=NOW)


def verdict(**fields: Any) -> JudgementCompleted:
    given = {
        "item": "i",
        "evaluation": "e",
        "verdict": "a",
        "first_order": "a",
        "second_order": "a",
        "judge": "j",
        "prompt_version": "p",
        "slice": "maths",
        "confidence": 1.0,
    }
    return JudgementCompleted.model_validate({**given, **fields})


def marker() -> Marker:
    return Marker(calibration(), lambda: NOW)


def test_a_covered_verdict_names_its_calibration() -> None:
    assert marker().mark(verdict()).calibration == calibration().digest
    untold = verdict(flags=("family_unknown",))
    assert marker().mark(untold).calibration == calibration().digest


@pytest.mark.parametrize(
    "fields",
    [
        {"slice": "law"},
        {"confidence": 0.5},
        {"verdict": "unscored"},
        {"flags": ("same_family",)},
    ],
)
def test_what_is_not_certified_only_ranks(fields: dict[str, Any]) -> None:
    assert marker().mark(verdict(**fields)).calibration is None


@pytest.mark.parametrize("fields", [{"judge": "k"}, {"prompt_version": "q"}])
def test_another_judge_or_prompt_ends_it(fields: dict[str, Any]) -> None:
    assert EXPIRED in marker().mark(verdict(**fields)).flags


def test_another_mix_of_slices_ends_it() -> None:
    drifting = marker()
    for _ in range(FEWEST):
        drifting.mark(verdict(slice="law"))
    assert EXPIRED in drifting.mark(verdict()).flags


def test_a_file_that_is_no_calibration_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="IMECE_LLM_JUDGE_CALIBRATION"):
        load(tmp_path / "none.json")
    (tmp_path / "c.json").write_text(calibration().model_dump_json())
    assert load(tmp_path / "c.json") == calibration()
