"""What is asked, how answers are graded, and that blinding can be undone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.events import (
    AdapterTrained,
    EvaluationCase,
    EvaluationPlan,
    FullRecipe,
    Instruction,
    LabelledExample,
    ModelRef,
    Record,
    new,
)
from imece.events.records import DatasetRef
from services.evaluator import blind, core
from services.evaluator.core import Asked, Question
from tests.unit.evaluator.builders import items, judged

SUITE = DatasetRef(dataset="s", version=1, digest="sha256:" + "0" * 64, uri="file:///s")
BASE = ModelRef(name="base", base="/base")


def case(**fields: object) -> EvaluationCase:
    return EvaluationCase.model_validate({"prompt": "2+2?", "expected": ["4"], **fields})


def test_cases_and_labelled_rows_are_asked_and_other_rows_are_not() -> None:
    rows: list[tuple[str, Record]] = [
        ("1", case(slice="sums", guard=True)),
        ("2", LabelledExample(text="great film", label="good")),
        ("3", LabelledExample(text="dull film", label="bad")),
        ("4", Instruction(prompt="p", response="r")),
    ]
    first, second, third = core.questions("s", rows)
    assert (first.id, first.slice, first.guard, first.labels) == ("s/1", "sums", True, ())
    assert second.labels == third.labels == ("bad", "good")
    assert second.expected == ("good",)


@pytest.mark.parametrize(
    ("answer", "correct", "exact"),
    [("4", True, True), ("The answer is 4.", True, False), ("5", False, False), ("", False, False)],
)
def test_a_case_is_right_when_the_answer_says_what_is_expected(
    answer: str, correct: bool, exact: bool
) -> None:
    item = core.grade(core.questions("s", [("1", case())])[0], answer)
    assert (item.correct, item.exact, item.label) == (correct, exact, None)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("spam", "spam"),
        ("It is spam.", "spam"),
        ("not spam", "not spam"),
        ("spam or ham", None),
        ("", None),
        ("x" * 1_000_000, None),
        ("İYİ", "iyi"),
        (unicodedata.normalize("NFD", "İyi."), "iyi"),
        ("eggs", None),  # outside the set
        ("spamming", None),
    ],
)
def test_a_label_is_read_only_where_the_answer_says_exactly_one(
    answer: str, label: str | None
) -> None:
    assert core.read_label(answer, ("spam", "ham", "not spam", "iyi")) == label


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKD"])
def test_decomposed_answers_and_expectations_are_graded_like_composed_ones(form: str) -> None:
    def turned(text: str) -> str:
        return unicodedata.normalize(form, text)

    asked = case().model_copy(update={"expected": ("Şanlıurfa",)})
    (question,) = core.questions("s", [("1", asked)])
    item = core.grade(question, turned("Şanlıurfa"))
    assert (item.correct, item.exact, item.strict) == (True, True, True)
    other = core.questions("s", [("1", asked.model_copy(update={"expected": (turned("Çiğli"),)}))])
    assert core.grade(other[0], "Yanıt: Çiğli").correct
    assert not core.grade(other[0], turned("Çigli")).correct


def test_an_unreadable_label_is_wrong() -> None:
    item = core.grade(Question("s/1", "s", "t", ("a",), "s", labels=("a", "b")), "hmm")
    assert (item.correct, item.label) == (False, None)


def test_items_survive_being_stored() -> None:
    kept = items([True, False], slice="şeker", guard=True)
    assert core.load(core.dump(kept)) == kept


def test_answers_with_line_separators_survive_being_stored() -> None:
    question = Question("s/1", "s", "a\u2028b", ("x",), "s")
    kept = [core.grade(question, "one\u2028two\x85three\nfour")]
    assert core.load(core.dump(kept)) == kept


def test_only_differing_free_form_answers_are_judged_and_no_more_than_asked_for() -> None:
    new, old = items([True] * 9), items([False] * 8 + [True])
    assert len(blind.to_judge("e", new, old, 100)) == 8
    assert len(blind.to_judge("e", new, old, 3)) == 3
    assert blind.to_judge("e", items([True], guard=True), items([False], guard=True), 3) == []
    assert blind.to_judge("e", new, old, 5) == blind.to_judge("e", new, old, 5)


@given(st.text(min_size=1, max_size=20))
def test_blinding_is_undone_by_the_same_rule(evaluation: str) -> None:
    (request,) = blind.to_judge("e", items([True]), items([False]), 1)
    best = "a" if request.answer_a == "yes" else "b"
    assert blind.preference(judged(request.item, best)) == "candidate"
    assert blind.preference(judged(request.item, "a" if best == "b" else "b")) == "baseline"
    assert blind.preference(judged(request.item, "tie")) == "tie"
    assert blind.preference(judged(request.item, "unscored")) == "unscored"


def test_both_sides_are_shown_first_about_equally_often() -> None:
    shown = [blind.candidate_is_a("e", str(i)) for i in range(1000)]
    assert 400 < sum(shown) < 600


def test_the_baseline_is_the_plans_or_the_champion_or_the_bare_base() -> None:
    champion = ModelRef(name="c", base="/base", adapter="/c", adapter_digest="sha256:" + "1" * 64)
    candidate = ModelRef(name="n", base="/base", adapter="/n", adapter_digest="sha256:" + "2" * 64)
    plan = EvaluationPlan(suites=(SUITE,))
    assert core.baseline_of(Asked("n", candidate, plan), champion) == champion
    assert core.baseline_of(Asked("n", candidate, plan), None) == BASE
    named = plan.model_copy(update={"baseline": BASE})
    assert core.baseline_of(Asked("n", candidate, named), champion) == BASE
    measured = plan.model_copy(update={"decide": False})
    assert core.baseline_of(Asked("n", candidate, measured), champion) is None


def test_a_whole_model_is_compared_with_what_it_was_made_from() -> None:
    whole = ModelRef(name="n", base="file:///n", base_digest="sha256:" + "2" * 64)
    trained = AdapterTrained(
        model="n",
        job="j",
        ref=whole,
        datasets=(),
        recipe=FullRecipe(method="full"),
        base="/base",
        metrics={},
        evaluation=EvaluationPlan(suites=(SUITE,)),
    )
    asked = core.asked(new(trained, "test"))
    assert asked is not None
    assert core.baseline_of(asked, None) == ModelRef(name="base", base="/base")
