"""Verdicts meet people's answers again, by ids alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from imece.cli.judge import labelled, summary
from imece.events import Envelope, JudgementCompleted, JudgementRequested, ReviewAnswered
from services.llm_judge import store
from services.llm_judge.routes import announcements

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def judged(number: int, **fields: Any) -> tuple[Envelope[Any], store.Stored]:
    asked = JudgementRequested(
        item=f"i{number}",
        evaluation="e",
        prompt="q",
        answer_a="long answer",
        answer_b="no",
        slice="maths",
        families=("meta", "openai"),
    )
    event = Envelope(asked, f"r{number}", "app", NOW)
    verdict = JudgementCompleted.model_validate(
        {
            "item": asked.item,
            "evaluation": "e",
            "verdict": "a",
            "first_order": "a",
            "second_order": "a",
            "judge": "j",
            "confidence": 1.0,
            **fields,
        }
    )
    return event, store.Stored(store.key(event), asked, None, verdict, NOW, 0.0)


def test_answers_find_their_verdict_and_weigh_by_their_chance() -> None:
    doubt, sure = judged(1, flags=("uncertain",), verdict="tie"), judged(2)
    told = [announcements(stored)[0] for _, stored in (doubt, sure)]
    answers = [
        Envelope(
            ReviewAnswered(item=item, reviewer=who, choice=choice, inclusion=chance),
            who,
            "people",
            NOW,
        )
        for item, who, choice, chance in (
            (f"judgement/{doubt[1].id}", "r1", 2, 1),
            (f"judgement/{doubt[1].id}", "r2", 0, 1),
            (f"judgement/{sure[1].id}", "r1", 1, 0.02),
            (f"judgement/{sure[1].id}", "r2", None, 0.02),
            (f"judgement/{sure[1].id}/1", "r2", 4, 0.02),
            ("feedback/other", "r1", 0, 1),
        )
    ]
    first, second = labelled([doubt[0], sure[0]], told, answers)
    assert (first.verdict, first.people, first.weight) == ("tie", ("tie", "a"), 1)
    assert (second.verdict, second.people, second.weight) == ("a", ("b",), 50)
    assert (second.slice, second.family_b, second.length_a) == ("maths", "openai", 11)


def test_a_verdict_that_nobody_answered_is_no_row() -> None:
    event, stored = judged(1)
    assert labelled([event], [announcements(stored)[0]], []) == []


def test_a_report_accounts_for_every_attempt() -> None:
    told = [
        announcements(judged(number, **fields)[1])[0].data
        for number, fields in enumerate(
            (
                {"usage": {"calls": 2, "prompt_tokens": 8, "money": 0.5, "cached": 0}},
                {"verdict": "tie", "second_order": "b", "usage": {"cached": 2}},
                {"verdict": "unscored", "first_order": "unscored", "reason": "timeout: 3 s"},
                {"verdict": "unscored", "first_order": "unscored", "reason": "budget"},
                {"evaluation": "other"},
            )
        )
    ]
    first, other = summary(told)
    assert first["attempted"] == first["scored"] + 2 == 4
    assert first["unscored"] == "budget 1, timeout 1"
    assert (first["flip rate"], first["calls"], first["cached"]) == (0.5, 2, 2)
    assert (first["money"], first["tokens"]) == (0.5, 8)
    assert (other["attempted"], other["unscored"], other["money"]) == (1, None, None)
    assert summary([]) == []
