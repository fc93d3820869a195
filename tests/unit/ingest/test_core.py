"""Content hashes, splits, near-duplicates: the pure half of ingest."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imece.events import (
    Document,
    EvaluationCase,
    Instruction,
    LabelledExample,
    PreferencePair,
    Record,
    Turn,
)
from services.ingest import core, near
from services.ingest.admit import Known, Limits, Origin, Row, admit

TEXT = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=40)


def arrival(record: Record, key: str, *, feedback: bool = False) -> core.Arrival:
    return core.Arrival(key, "facts", core.new_row("facts", record, {}, feedback=feedback))


def admitted(*arrivals: core.Arrival, known: Known | None = None) -> tuple[Known, dict[str, Row]]:
    known = known or Known()
    rows = {a.row.row_id: a.row for a in arrivals if a.row}
    keys = dict(zip(rows, near.keys(list(rows.values())), strict=True))
    admit(arrivals, keys, known, Limits())
    return known, known.rows


def reasons(*records: Record) -> list[str | None]:
    known, _ = admitted(*(arrival(record, f"k{i}") for i, record in enumerate(records)))
    return [known.origins[f"k{i}"].reason for i in range(len(records))]


def key(prompt: str, answer: str = "a") -> near.Key:
    row = core.new_row("facts", Instruction(prompt=prompt, response=answer), {})
    return near.keys([row])[0]


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=6), st.randoms())
def test_canonical_content_does_not_depend_on_key_order_or_composition(value, random) -> None:
    items = list(value.items())
    random.shuffle(items)

    def decompose(item):
        if isinstance(item, str):
            return unicodedata.normalize("NFD", item)
        return [decompose(one) for one in item]

    other = {decompose(name): decompose(item) for name, item in items}
    if len(other) == len({unicodedata.normalize("NFC", name) for name in value}) == len(value):
        assert core.canonical(value) == core.canonical(other)


@given(TEXT, TEXT)
def test_equal_records_have_equal_row_ids_in_one_data_set_only(prompt: str, response: str) -> None:
    composed = Instruction(prompt=prompt, response=response)
    decomposed = Instruction(prompt=unicodedata.normalize("NFD", prompt), response=response)
    here = core.new_row("a", composed, {"id": 1}).row_id
    assert here == core.new_row("a", decomposed, {"id": 2}).row_id
    assert here != core.new_row("b", composed, {}).row_id


def test_row_ids_tell_kinds_and_answers_apart() -> None:
    records: list[Record] = [
        Document(text="x"),
        Instruction(prompt="x", response="y"),
        Instruction(prompt="x", response="z"),
        LabelledExample(text="x", label="y"),
        PreferencePair(prompt="x", chosen="y", rejected="z"),
        PreferencePair(prompt="x", chosen="z", rejected="y"),
        EvaluationCase(prompt="x", expected=("y",)),
    ]
    assert len({core.new_row("d", record, {}).row_id for record in records}) == len(records)


def test_a_pair_after_other_turns_is_another_row_and_without_them_content_names_none() -> None:
    turns = (Turn(role="user", content="a"), Turn(role="assistant", content="b"))
    alone = PreferencePair(prompt="x", chosen="y", rejected="z")
    rows = [
        core.new_row("d", record, {})
        for record in (alone, alone.model_copy(update={"history": turns}))
    ]
    assert rows[0].row_id != rows[1].row_id
    assert "history" not in rows[0].record
    assert core.subject(json.loads(rows[0].record)) == ("x", "y\x1fz")
    assert core.subject(json.loads(rows[1].record)) == ("a\nb\nx", "y\x1fz")


def test_splits_have_their_shares_and_evaluation_cases_are_always_test() -> None:
    shares = core.Shares(0.1, 0.2)
    counts = Counter(core.split_of(f"c{i}", "document", shares) for i in range(20_000))
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.015)
    assert core.split_of("c0", "evaluation-case", core.Shares(0, 0)) == "test"


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=30), st.randoms())
def test_a_cluster_is_on_one_side_in_any_order(picks: list[str], random) -> None:
    endings = ["?", " ?", "??", "!", "…"]
    records = [
        Instruction(
            prompt=f"Which letter is {pick * 9}{random.choice(endings)}", response=f"it {i}"
        )
        for i, pick in enumerate(picks)
    ]
    _, rows = admitted(*(arrival(record, str(i)) for i, record in enumerate(records)))
    sides: dict[str, set[str]] = {}
    for row in rows.values():
        sides.setdefault(row.cluster, set()).add(row.split)
    assert all(len(splits) == 1 for splits in sides.values())


def test_numbers_never_merge() -> None:
    assert near.similarity(key("What is 2+2?"), key("What is 2+3?")) == 0
    assert near.similarity(key("What is 12+1?"), key("What is 1+12?")) == 0
    assert near.similarity(key("What is 2+2?"), key("What is 2*2?")) == 0
    assert near.similarity(key("What is 2²?"), key("What is 22?")) == 0
    long = "Please add the two numbers and answer with one plain number and nothing more: "
    assert reasons(
        Instruction(prompt=long + "1 + 3", response="4"),
        Instruction(prompt=long + "2 + 2", response="4"),
    ) == [None, None]


def test_a_turkish_text_in_capitals_is_the_same_text() -> None:
    assert near.similarity(key("IŞIK HIZI NEDİR?"), key("ışık hızı nedir?")) == 1
    assert near.similarity(key("İSTANBUL"), key("istanbul")) == 1


def test_templates_do_not_become_one_cluster() -> None:
    names = ["Peru", "Iran", "Iraq", "Chad", "Cuba", "Mali", "Togo", "Oman"]
    records = [
        Instruction(prompt=f"What is the capital of the country {name}?", response=f"City {name}.")
        for name in names
    ]
    _, rows = admitted(*(arrival(record, str(i)) for i, record in enumerate(records)))
    assert len({row.cluster for row in rows.values()}) == len(names)


def test_a_near_duplicate_with_the_same_answer_is_refused_and_with_another_kept() -> None:
    assert reasons(
        Instruction(prompt="Who wrote the Safahat, please?", response="Mehmet Akif"),
        Instruction(prompt="who wrote the  Safahat, please?", response="Mehmet Akif"),
        Instruction(prompt="who wrote the Safahat, please?", response="Someone else"),
        Document(text="Who wrote the Safahat, please?"),
    ) == [None, "near_duplicate", None, None]


def test_a_paraphrase_is_kept_in_the_same_cluster() -> None:
    _, rows = admitted(
        arrival(Instruction(prompt="Who was the author of the poem?", response="Akif"), "1"),
        arrival(Instruction(prompt="Well, who was the author of the poem?", response="Akif"), "2"),
    )
    assert len(rows) == 2
    assert len({row.cluster for row in rows.values()}) == 1


def test_unrelated_long_documents_are_not_similar_and_a_small_edit_is() -> None:
    words = [f"{a}{b}" for a in ("riv", "mon", "tal", "ser") for b in ("er", "ta", "ine", "ol")]
    one = " ".join(words[i * i % 16] + words[i % 7] for i in range(120))
    other = " ".join(words[i * 7 % 13] + words[i * 3 % 16] for i in range(120))
    assert reasons(Document(text=one), Document(text=other), Document(text=one + " and so on")) == [
        None,
        None,
        "near_duplicate",
    ]


def test_an_evaluation_case_that_asks_a_training_question_is_refused() -> None:
    records = [Instruction(prompt=f"Who is number {i}?", response="a") for i in range(40)]
    known, rows = admitted(*(arrival(record, str(i)) for i, record in enumerate(records)))
    trained = next(r for r in rows.values() if r.split == "train")
    prompt = core.subject(json.loads(trained.new.record))[0]
    case = EvaluationCase(prompt=prompt, expected=("a",))
    admitted(arrival(case, "case"), known=known)
    assert known.origins["case"].reason == "leaks_training_row"


def test_a_training_row_that_asks_an_evaluation_case_goes_to_test() -> None:
    prompts = [f"Who is number {i}?" for i in range(40)]
    cases = [EvaluationCase(prompt=prompt, expected=("a",)) for prompt in prompts]
    later = [Instruction(prompt=prompt, response="a") for prompt in prompts]
    _, rows = admitted(*(arrival(r, f"{i}") for i, r in enumerate([*cases, *later])))
    assert len(rows) == 2 * len(prompts)
    assert {row.split for row in rows.values()} == {"test"}


def test_duplicates_of_feedback_are_told_apart_from_duplicates_of_records() -> None:
    record = Instruction(prompt="Who?", response="Ada")
    known, rows = admitted(
        arrival(record, "record"),
        arrival(record, "again"),
        arrival(record, "feedback", feedback=True),
    )
    assert [known.origins[k].reason for k in ("record", "again", "feedback")] == [
        None,
        "duplicate",
        None,
    ]
    assert all(known.origins[k].live for k in ("record", "again", "feedback"))
    assert len(rows) == 1


def test_a_row_from_feedback_keeps_no_record_out() -> None:
    said = Instruction(prompt="Who wrote the Safahat, please?", response="Mehmet Akif")
    known, rows = admitted(
        arrival(said, "feedback", feedback=True),
        arrival(said.model_copy(update={"prompt": said.prompt.upper()}), "record"),
    )
    assert known.origins["record"].reason is None
    assert len({row.cluster for row in rows.values()}) == 1


def test_older_decisions_change_nothing_and_a_revocation_wins_a_tie() -> None:
    old = Origin("f", 2, "row", live=True)
    for version, revokes, expected in [(1, True, True), (2, False, True), (2, True, False)]:
        known = Known(origins={"f": old})
        admitted(core.Arrival("f", "", None, version, revokes=revokes), known=known)
        assert known.origins["f"].live is expected


@given(st.text(max_size=200))
def test_folders_of_hostile_names_stay_inside_the_store(name: str) -> None:
    path = core.folder(name, 3)
    assert path.startswith("datasets/")
    assert path.count("/") == 2
    assert ".." not in path


def test_folders_of_similar_names_differ() -> None:
    assert core.folder("a/b", 1) != core.folder("a_b", 1)


def test_a_key_that_is_no_name_is_called_unknown() -> None:
    assert core.record_set_of("facts") == "facts"
    for bad in (None, "", "two words", "x" * 201, "a\x00"):
        assert core.record_set_of(bad) == "unknown"


@given(st.text(max_size=3_000))
def test_any_message_becomes_printable(text: str) -> None:
    shown = core.printable(text)
    assert len(shown) <= 2_000
    assert all(c.isprintable() for c in shown)
