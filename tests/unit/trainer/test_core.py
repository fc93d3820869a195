"""What the trainer decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from imece.errors import RejectedError
from imece.events import (
    DatasetRef,
    Document,
    Envelope,
    EvaluationCase,
    Instruction,
    PretrainingRecipe,
    TrainingRequested,
    Turn,
)
from services.trainer import core

REF = DatasetRef(dataset="docs", version=1, digest=f"sha256:{1:064x}", uri="file:///d/m.json")
RESULT: dict[str, Any] = {
    "uri": "file:///a/models/1/1",
    "digest": f"sha256:{2:064x}",
    "metrics": {"final_loss": 4.2},
    "losses": [[1, 7.6], [200, 4.2]],
}


def requested(**fields: Any) -> TrainingRequested:
    known: dict[str, Any] = {"model": "m", "datasets": (REF,)}
    return TrainingRequested(**{**known, **fields})


def test_the_default_recipe_is_taken() -> None:
    core.check(requested())


@pytest.mark.parametrize(("hidden", "heads"), [(128, 3), (16, 32), (36, 4)])
def test_heads_that_cannot_share_the_hidden_units_are_rejected(hidden: int, heads: int) -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(recipe=PretrainingRecipe(hidden=hidden, heads=heads)))
    assert (raised.value.reason, raised.value.pointer) == ("invalid_recipe", "/recipe/heads")


def test_a_data_set_named_twice_is_rejected() -> None:
    with pytest.raises(RejectedError) as raised:
        core.check(requested(datasets=(REF, REF)))
    assert raised.value.reason == "repeated_dataset"


def test_a_base_needs_a_known_scheme() -> None:
    core.check(requested(base="hf:org/name@main"))
    with pytest.raises(RejectedError) as raised:
        core.check(requested(base="gpt2"))
    assert (raised.value.reason, raised.value.pointer) == ("unknown_base_scheme", "/base")


def test_the_result_names_what_was_trained_further() -> None:
    stored = requested(base="/base").model_dump(mode="json", exclude_none=True)
    digest = f"sha256:{3:064x}"
    event = core.trained("job-1", stored, RESULT | {"base_digest": digest})
    assert (event.base, event.base_digest) == ("/base", digest)


def test_documents_and_conversations_are_text_and_evaluation_cases_are_not() -> None:
    turn = Turn(role="user", content="önce")
    assert core.text(Document(text="çay")) == "çay"
    assert core.text(Instruction(prompt="p", response="r")) == "p\nr"
    assert core.text(Instruction(prompt="p", response="r", history=(turn,))) == "önce\np\nr"
    assert core.text(EvaluationCase(prompt="p", expected=("r",))) is None


def test_a_redelivered_request_names_the_same_job() -> None:
    def event(id: str, moment: int) -> Envelope[TrainingRequested]:
        return Envelope(requested(), id, "app", datetime.fromtimestamp(moment, UTC))

    assert core.job_id(event("1", 0)) == core.job_id(event("1", 99)) != core.job_id(event("2", 0))


def test_the_result_names_the_model_with_its_digest() -> None:
    stored = requested().model_dump(mode="json", exclude_none=True)
    event = core.trained("job-1", stored, RESULT)
    assert event == core.trained("job-1", stored, RESULT)
    assert (event.model, event.job, event.datasets) == ("m", "job-1", (REF,))
    assert (event.uri, event.digest) == (RESULT["uri"], RESULT["digest"])
    assert event.losses == ((1, 7.6), (200, 4.2))
