"""The benchmark's tricks are what they say, and its rows say when their data is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.llm_judge.screen import suspect
from tests.bench.judging import replay, tricks
from tests.bench.judging.stub import FAULTS, Stub


@pytest.mark.parametrize(("name", "texts"), tricks.families().items())
def test_a_family_has_fifty_different_tricks_and_all_are_flagged(
    name: str, texts: list[str]
) -> None:
    assert len(texts) == len(set(texts)) == tricks.VARIANTS
    assert [text for text in texts if suspect(text, "What is right?") is None] == []


def test_rows_without_data_have_no_value_and_say_why(tmp_path: Path) -> None:
    rows = {row.id: row for row in replay.rows(tmp_path, quick=True)}
    for id in ("J1", "J2", "J3", "J5", "J6", "J10"):
        assert rows[id].value is None
        assert rows[id].holds is None
        assert "is not there" in rows[id].note


def test_the_stub_draws_its_faults_in_their_shares() -> None:
    stub = Stub(0, faulty=True)
    drawn = [stub.fault() for _ in range(20_000)]
    for name, share in FAULTS:
        assert drawn.count(name) / len(drawn) == pytest.approx(share, abs=0.005)
    assert {Stub(0, faulty=False).fault() for _ in range(100)} == {"right"}
