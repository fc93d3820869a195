"""What went into a model, and what learned from a row or a user."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from imece.events import (
    AdapterTainted,
    AdapterTrained,
    DatasetRef,
    Envelope,
    Instruction,
    LeftOut,
    LoraRecipe,
    ModelRef,
    PromotionDecided,
)
from imece.runtime.datasets import Row
from imece.runtime.lineage import Known, backward, forward, of_row, of_user
from imece.runtime.shards import of_author

RECORD = Instruction(prompt="2+2?", response="4")


def ref(version: int) -> DatasetRef:
    digest = f"sha256:{version:064x}"
    return DatasetRef(dataset="facts", version=version, uri="file:///d", digest=digest)


def row(id: str, user: str | None = None, split: str = "train") -> Row:
    origin = {"source": "app", "id": f"event-{id}", "user": user}
    return Row(id, "instruction", split, id, origin, RECORD)


ROWS = {
    1: [row("a"), row("b", "ayşe"), row("c", "ayşe", "test")],
    2: [row("a"), row("d", "ışık")],
}


def trained(model: str, version: int) -> Envelope[Any]:
    data = AdapterTrained(
        model=model,
        job=f"job-{model}-{version}",
        ref=ModelRef(
            name=model, base="wheel:b==1", adapter="file:///a", adapter_digest=digest(version)
        ),
        datasets=(ref(version),),
        recipe=LoraRecipe(rank=2),
        metrics={"final_loss": 0.5},
    )
    return Envelope(data, f"e{version}", "imece/adapter", datetime(2026, 5, version, tzinfo=UTC))


def digest(version: int) -> str:
    return f"sha256:{100 + version:064x}"


def known() -> Known:
    first, second = trained("m", 1), trained("m", 2)
    decision = PromotionDecided(
        model="m",
        evaluation="e",
        verdict="promote",
        checks=(),
        candidate=first.data.ref,
        champion=first.data.ref,
        policy="p",
    )
    taint = AdapterTainted(model="m", adapter_digest=digest(1), datasets=(ref(1),), revoked=1)
    at = datetime(2026, 5, 9, tzinfo=UTC)
    return Known(
        [first, second],
        [Envelope(decision, "d", "imece/evaluator", at)],
        [Envelope(taint, "t", "imece/ingest", at)],
    )


def rows(of: DatasetRef) -> list[Row]:
    return ROWS[of.version]


def test_a_model_names_its_base_recipe_rows_feedback_and_their_users() -> None:
    newest, oldest = backward("m", known(), rows)
    assert (newest["job"], newest["verdict"], newest["revoked_rows"]) == ("job-m-2", None, 0)
    assert (oldest["verdict"], oldest["revoked_rows"]) == ("promote", 1)
    assert (oldest["base"], oldest["recipe"]["rank"]) == ("wheel:b==1", 2)
    (data,) = oldest["datasets"]
    assert (data["rows"], data["feedback"], data["users"]) == (2, ["event-b"], {"ayşe": 1})
    assert data["sources"] == {"app": 2}


def test_a_row_is_found_by_its_id_and_by_that_of_its_event() -> None:
    for name in ("a", "event-a"):
        found = forward(known(), rows, of_row(name))
        assert [(each["job"], each["version"], each["rows"]) for each in found] == [
            ("job-m-1", 1, ["a"]),
            ("job-m-2", 2, ["a"]),
        ]


def test_only_rows_that_were_trained_on_lead_to_a_model() -> None:
    assert forward(known(), rows, of_row("c")) == []
    assert [each["rows"] for each in forward(known(), rows, of_user("ayşe"))] == [["b"]]


def test_what_started_from_a_model_that_saw_a_row_is_found_and_says_through_what() -> None:
    whole = trained("m", 1)
    ref = ModelRef(name="m", base="file:///models/m/1", base_digest=digest(1))
    whole = replace(whole, data=whole.data.model_copy(update={"ref": ref, "base": "wheel:b==1"}))
    later = trained("n", 2)
    later = replace(later, data=later.data.model_copy(update={"base": "/models/m/1#sha256=ab"}))
    sibling = trained("o", 2)  # of the same base as the first, which saw nothing itself
    found = forward(Known([whole, later, sibling]), rows, of_user("ayşe"))
    assert [(each["model"], each["rows"], each["through"]) for each in found] == [
        ("m", ["b"], None),
        ("n", [], "/models/m/1#sha256=ab"),
    ]


def test_an_adapter_that_left_an_author_out_did_not_learn_from_them() -> None:
    event = trained("m", 1)
    shard = of_author("ayşe", "salt", 4)
    for number, learned in ((shard, 0), ((shard + 1) % 4, 1)):
        without = LeftOut(of=4, shard=number, salt="salt")
        left = replace(event, data=event.data.model_copy(update={"without": without}))
        assert len(forward(Known([left]), rows, of_user("ayşe"))) == learned


def test_an_unknown_name_leads_nowhere() -> None:
    assert backward("n", known(), rows) == []
    assert forward(known(), rows, of_user("kimse")) == []
