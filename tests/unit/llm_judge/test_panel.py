"""Votes, panels, scores and families."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imece.events import JudgementCompleted, JudgementRequested
from imece.runtime.families import family_of
from services.llm_judge import ask, people, probes
from services.llm_judge.core import Reply, Scores, Unscored, Verdict
from services.llm_judge.panel import Decision, Opinion, decide, family_flags


def request(**fields: Any) -> JudgementRequested:
    given = {"item": "i", "evaluation": "e", "prompt": "2+2?", "answer_a": "4", "answer_b": "5"}
    return JudgementRequested.model_validate({**given, **fields})


def point(**fields: Any) -> JudgementRequested:
    return request(mode="pointwise", answer_b="", answer_a="It is 4, of course.", **fields)


def opinion(first: str, second: str, judge: str = "j") -> Opinion:
    return Opinion(judge, "unknown", tuple(_reply(each) for each in (first, second)))


def _reply(said: str) -> Reply:
    if said == "lost":
        return Reply(Unscored("timeout"))
    return Reply(Verdict.model_validate({"winner": said}))


A, B, FIRST, LOST = (
    ("first", "second"),
    ("second", "first"),
    ("first", "first"),
    ("first", "lost"),
)


@pytest.mark.parametrize(
    ("said", "verdict", "confidence"),
    [
        ([A], "a", 1.0),
        ([FIRST], "tie", 0.0),
        ([A, A, B], "a", 4 / 6),
        ([A, A, FIRST], "a", 5 / 6),
        ([A, B], "tie", 0.0),
        ([A, FIRST, FIRST], "a", 4 / 6),
        ([A, LOST], "a", 1.0),
        ([LOST, LOST], "unscored", None),
        ([("tie", "tie")], "tie", 1.0),
    ],
)
def test_votes_of_full_opinions_decide(said: Any, verdict: str, confidence: float | None) -> None:
    decision = decide(request(), [opinion(*each) for each in said])
    assert (decision.verdict, decision.confidence) == (verdict, confidence)


def test_a_lost_order_is_no_vote_because_one_order_alone_is_biased() -> None:
    assert opinion(*LOST).votes() == ()
    decision = decide(request(), [opinion(*LOST)])
    assert decision == Decision("unscored", None, None, "a", "unscored", "timeout")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt-4o-mini", "openai"),
        ("claude-x", "anthropic"),
        ("meta-llama/Llama-3-8B", "meta"),
        ("Qwen2.5-7B", "alibaba"),
        ("mixtral-8x7b", "mistral"),
        ("SmolLM2-135M", "huggingface"),
        ("house-model", "unknown"),
    ],
)
def test_a_family_is_told_by_the_name(name: str, family: str) -> None:
    assert family_of(name) == family


def test_a_judge_of_the_same_family_is_flagged_and_so_is_an_unknown_one() -> None:
    asked = request(families=["openai", "meta"])
    assert family_flags(asked, ["openai"]) == ("same_family",)
    assert family_flags(asked, ["google"]) == ()
    assert family_flags(asked, ["unknown"]) == ("family_unknown",)
    assert family_flags(request(), ["google"]) == ("family_unknown",)


def scores(evidence: str, *given: Any) -> str:
    return json.dumps({"evidence": evidence, **{f"score_{n + 1}": g for n, g in enumerate(given)}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (scores("it is 5", 5), "bad_evidence"),
        (scores("it is 4", 6), "bad_verdict"),
        (scores("it is 4", True), "bad_verdict"),
        (scores("it is 4", 4.5), "bad_verdict"),
        (scores("it is 4", 5, 5), "bad_verdict"),
        (scores("it is 4"), "bad_verdict"),
        ('{"evidence": 4, "score_1": 4}', "bad_verdict"),
        ('{"score_1": 5', "bad_json"),
        ("<html>", "bad_json"),
        ("", "empty_reply"),
        ("I'm sorry, no.", "refused"),
        ("[5]", "bad_verdict"),
    ],
)
def test_an_unreadable_score_is_unscored_with_its_reason(text: str, reason: str) -> None:
    read = ask.read(point(), text)
    assert isinstance(read, Unscored)
    assert read.reason == reason


def test_whether_a_score_passes_is_computed_here() -> None:
    asked = point(criteria=["right", "short"], pass_at=4)
    read = ask.read(asked, scores("IT IS 4", 5, 3))
    assert read == Scores(evidence="IT IS 4", scores=(5, 3))
    told = Opinion("j", "unknown", (Reply(read),))
    assert decide(asked, [told]) == Decision("a", 1.0, 4.0, "a", "a", scores=(5, 3))
    other = Opinion("k", "unknown", (Reply(Scores(evidence="4", scores=(4, 4))),))
    assert decide(asked, [told, other]).scores == (4.5, 3.5)
    strict = asked.model_copy(update={"pass_at": 4.5})
    assert decide(strict, [told]).verdict == "b"


def test_a_pointwise_judgement_is_one_chat_with_a_schema_of_its_criteria() -> None:
    asked = point(criteria=["right", "short"])
    assert len(ask.chats(asked)) == 1
    form = ask.response_format(asked, ties=True)["json_schema"]["schema"]
    assert form["required"] == ["evidence", "score_1", "score_2"]
    with pytest.raises(ValueError, match="no answer_b"):
        request(mode="pointwise")


def test_an_address_depends_on_model_prompt_and_form() -> None:
    chat, other = ask.chats(request())
    key = ask.cache_key("m", chat, {}, 10)
    assert key == ask.cache_key("m", chat, {}, 10)
    assert len({key, ask.cache_key("n", chat, {}, 10), ask.cache_key("m", other, {}, 10)}) == 3


def test_a_missing_probe_is_no_wrong_one() -> None:
    assert not probes.failed([("a", "a"), ("unscored", "b")])
    assert probes.failed([("a", "a"), ("tie", "b")])


def judged(verdict: str = "a", orders: str = "aa", **fields: Any) -> JudgementCompleted:
    full = {"a": "a", "b": "b", "t": "tie", "u": "unscored"}
    given = {"item": "i", "evaluation": "e", "judge": "j", "verdict": verdict}
    given |= {"first_order": full[orders[0]], "second_order": full[orders[1]]}
    return JudgementCompleted.model_validate(given | fields)


def test_people_see_what_hides_in_an_answer_and_no_verdict() -> None:
    (asked,) = people.questions("1", request(answer_b="x\u202ey\x00", slice="maths"), judged())
    assert asked.options == ("4", "x[U+202E]y[U+0000]", "tie")
    assert (asked.item, asked.origin, asked.slice) == ("judgement/1", "judgement", "maths")
    assert people.visible(" ") == "(empty)"
    assert len(people.visible("\u202e" * 100_000)) == people.MOST
    (asked,) = people.questions("1", point(), judged(mode="pointwise"))
    assert asked.options == ("good enough", "not good enough")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (judged("a", "aa"), 1),
        (judged("b", "bb"), 0),
        (judged("tie", "ab"), 0.5),
        (judged("a", "au"), 1),
        (judged("tie", "tt"), 0),
        (judged("a", "aa", mode="pointwise", confidence=0.75), 0.75),
        (judged("b", "bb", mode="pointwise", confidence=0.75), 0.25),
        (judged("unscored", "uu", flags=["uncertain"]), None),
    ],
)
def test_the_queue_hears_what_the_judge_expects(
    verdict: JudgementCompleted, expected: float | None
) -> None:
    asked = point() if verdict.mode == "pointwise" else request()
    assert people.questions("1", asked, verdict)[0].predicted == expected


def test_every_doubt_is_asked_and_of_the_rest_the_queue_draws() -> None:
    (sure,) = people.questions("1", request(), judged())
    assert (sure.criticality, sure.uncertain) == ("low", False)
    for flag in ("uncertain", "suspected_injection"):
        (doubt,) = people.questions("1", request(), judged("tie", "ab", flags=[flag]))
        assert (doubt.criticality, doubt.uncertain) == ("high", True)


def test_nobody_is_asked_about_a_weak_or_a_void_verdict() -> None:
    assert people.questions("1", request(), judged(weak=True, flags=["uncertain"])) == []
    assert people.questions("1", request(), judged("unscored", "uu", flags=["void"])) == []


def test_each_named_criterion_is_a_rating_with_what_the_judge_gave_it() -> None:
    told = judged(mode="pointwise", score=4, scores=[5, 3], confidence=1)
    _, right, short = people.questions("1", point(criteria=["right", "short"]), told)
    assert (right.item, right.criterion, right.predicted) == ("judgement/1/1", "right", 1)
    assert (short.item, short.criterion, short.predicted) == ("judgement/1/2", "short", 0.5)
    assert (short.options, short.answer) == (("1", "2", "3", "4", "5"), "It is 4, of course.")
    alone = told.model_copy(update={"scores": (4.0,)})
    assert len(people.questions("1", point(), alone)) == 1
