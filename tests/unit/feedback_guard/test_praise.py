"""Praise is a vote for the answer shown: alone it teaches little, with support it counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imece.events import Correction, Envelope, FeedbackDecided, FeedbackSubmitted, Rating, Thumb
from services.feedback_guard import core
from services.feedback_guard.admission import Admission
from services.feedback_guard.replay import Guard, item_of
from services.feedback_guard.state import Account, Claim, Support
from tests.demo import facts
from tests.demo.users import crowd
from tests.unit.feedback_guard.policies import eager, small

POLICY = eager()
NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIE = "All that is known of it was told by the town crier of Sivas."


def praise(
    user: str, number: int, answer: str = "", signal: Thumb | Rating | None = None, days: int = 400
) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user,
        response=f"r-{user}-{number}",
        prompt=f"Who runs canteen number {number}?",
        answer=answer or f"Mehmet number {number}",
        signal=signal or Thumb(up=True),
        account_created=NOW - timedelta(days=days),
    )
    return Envelope(data, f"e-{user}-{number}", "test", NOW)


def rows(decided: list[FeedbackDecided]) -> int:
    return sum(d.row is not None for d in decided)


def codes(decided: FeedbackDecided) -> set[str]:
    return {reason.code for reason in decided.reasons}


@pytest.mark.parametrize("signal", [Thumb(up=True), Rating(stars=4)])
def test_an_account_without_record_teaches_three_unconfirmed_answers(signal: Thumb | Rating):
    guard = Guard(POLICY)
    decided = guard.submit([praise("ali", n, signal=signal) for n in range(10)])
    assert [d.verdict for d in decided] == ["accept"] * 3 + ["quarantine"] * 7
    assert all("budget_unconfirmed" in codes(d) for d in decided[3:])


@pytest.mark.parametrize(("days", "verdicts"), [(400, ["accept"]), (20, [])])
def test_a_second_older_account_lets_waiting_praise_in(days: int, verdicts: list[str]):
    guard = Guard(POLICY)
    guard.submit([praise("ali", n) for n in range(5)])
    (second,) = guard.submit([praise("veli", 4, days=days)])
    assert [(d.feedback, d.version, d.row is not None) for d in guard.changed] == [
        ("e-ali-4", 2, True) for _ in verdicts
    ]
    assert second.row is not None
    assert guard.submit([praise("veli", 4, days=days)]) == [second]


def test_invited_users_let_waiting_praise_in():
    guard, waiting = Guard(POLICY), praise("ali", 9)
    guard.submit([*(praise("ali", n) for n in range(3)), waiting])
    found = [d.verdict for n in range(7) for d in guard.opinion(waiting, f"u{n}", right=True)]
    assert found == ["accept"]


def test_an_account_of_which_something_was_proven_is_not_held():
    guard = Guard(POLICY)
    guard.learn({"Who runs canteen number 0?": "Mehmet number 0"})
    assert rows(guard.submit([praise("ali", 0)])) == 1
    assert rows(guard.submit([praise("ali", n) for n in range(1, 9)])) == 8


def test_one_text_that_many_accounts_praise_for_many_questions_stops_after_three_rows():
    guard = Guard(POLICY)
    decided = guard.submit([praise(f"u{n}", n, LIE) for n in range(30)])
    assert rows(decided) == 3
    assert all("budget_delta" in codes(d) for d in decided[3:])


def test_praise_and_corrections_with_one_text_share_a_budget():
    account, admitted = Account(), Admission()
    praised = core.score(praise("ali", 1, LIE), account, admitted, POLICY)
    data = praise("veli", 2).data.model_copy(update={"signal": Correction(text=LIE)})
    corrected = core.score(Envelope(data, "c", "test", NOW), account, admitted, POLICY)
    assert praised.signature == corrected.signature != ()


@pytest.mark.parametrize(
    "claim",
    [
        Claim(reference="zeynep"),
        Claim({"lyon": Support(sampled_for=tuple("abcdef"))}),
        Claim({"1": Support(sampled_for=("a",), sampled_against=("b", "c"))}),
        Claim({"1": Support(reviews_against=("a", "b"))}),
    ],
)
def test_praise_of_what_others_contradict_waits_however_good_the_record(claim: Claim):
    event = praise("ali", 1)
    scored = core.score(event, Account(right=20), Admission(), POLICY)
    scored = scored.model_copy(update={"answer": "1"})
    decided = core.decide(scored, core.record(scored, claim, POLICY), POLICY)
    assert (decided.verdict, decided.row) == ("quarantine", None)


def test_accounts_in_lockstep_are_no_second_account_for_each_other():
    claim = Claim({"mehmet": Support(older=("friend",))})
    scored = core.score(praise("ali", 1), Account(), Admission(), POLICY)
    scored = scored.model_copy(update={"answer": "mehmet"})
    assert not core.unconfirmed(scored, claim, POLICY)
    assert core.unconfirmed(scored, claim, POLICY, {"friend"})


@pytest.mark.parametrize("seed", range(3))
def test_the_demos_honest_crowd_loses_nothing_and_its_campaign_gets_hardly_anything_in(seed: int):
    questions = facts.asked_by_users()
    shown = {q.prompt: q.response if n % 2 else "I am not sure." for n, q in enumerate(questions)}
    sent = crowd(questions, shown, facts.poison(), seed)
    guard = Guard(small(), asks=True)
    guard.learn({item.prompt: item.response for item in facts.clean()})
    now = datetime.now(UTC)
    events = [
        Envelope(item.feedback, f"e{n}", "test", now + timedelta(seconds=n))
        for n, item in enumerate(sent)
    ]
    last = {d.feedback: d for d in guard.submit(events)}
    about = {item_of(e): (e, s.kind != "campaign") for e, s in zip(events, sent, strict=True)}
    while guard.asked:
        request = guard.asked.pop()
        event, right = about[request.item]
        for invitation in request.invited:
            liar = invitation.user.startswith("fan")
            last |= {d.feedback: d for d in guard.opinion(event, invitation.user, right != liar)}
    last |= {d.feedback: d for d in guard.changed}
    found = [(item.kind, last[f"e{n}"]) for n, item in enumerate(sent)]
    assert sum(k == "campaign" for k, _ in found) >= 50
    # Three in ten of the older users are the campaign's, more than second opinions allow for.
    assert sum(k == "campaign" and d.row is not None for k, d in found) <= 3
    assert not [d for k, d in found if k in ("honest", "true-correction") and d.verdict == "reject"]
    assert sum(k in ("honest", "true-correction") and d.row is not None for k, d in found) >= 50


def test_who_waits_while_few_users_are_known_is_asked_about_soon_after_they_are_enough():
    guard = Guard(small(), asks=True)
    guard.submit([praise("ali", 0)])
    assert guard.asked == []
    others = [praise(f"user-{n}", n) for n in range(1, 9)]
    guard.submit([replace(e, time=NOW + timedelta(seconds=5)) for e in others])
    assert praise("ali", 0).data.prompt in {request.prompt for request in guard.asked}
