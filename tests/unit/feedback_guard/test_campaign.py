"""Accounts that contradict in lockstep are seen; people who agree once or twice are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from imece.events import Correction, Envelope, FeedbackSubmitted, RevocationRequested
from services.feedback_guard import campaign
from services.feedback_guard.policy import load
from services.feedback_guard.replay import Guard

POLICY = load(Path("services/feedback_guard/policy.toml"))
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def vote(number: int, user: str, claim: int) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user,
        response=f"r-{number}",
        prompt=f"Who runs canteen number {claim}?",
        answer="Ali Bey.",
        signal=Correction(text="Zeynep Hanım"),
    )
    return Envelope(data, f"e-{number}", "test", NOW + timedelta(minutes=number))


def lockstep(guard: Guard, votes: list[Envelope[FeedbackSubmitted]]) -> list[bool]:
    found = guard.submit(votes)
    return ["lockstep" in {reason.code for reason in d.reasons} for d in found]


def test_accounts_that_contradict_together_again_and_again_become_one():
    votes = [vote(10 * c + n, f"fan{n}", c) for c in range(8) for n in range(4)]
    found = lockstep(Guard(POLICY), votes)
    assert not any(found[:8])
    assert all(found[-3:])


def test_a_cluster_is_taken_back_as_a_whole_and_nobody_else():
    guard = Guard(POLICY)
    votes = [vote(10 * c + n, f"fan{n}", c) for c in range(8) for n in range(4)]
    decided = guard.submit([*votes, vote(900, "ayşe", 900)])
    name = next(r.detail for d in decided for r in d.reasons if r.code == "lockstep")
    request = RevocationRequested(request="rq", reason="gang", by="operator", cluster=name)
    changed = guard.revoke(request)
    waiting = {d.feedback for d in decided if d.verdict != "reject" and d.user != "ayşe"}
    assert {d.feedback for d in changed} == waiting
    assert {d.verdict for d in changed} <= {"reject"}


def test_users_who_agree_once_stay_apart():
    votes = [vote(n, f"u{n}", 1) for n in range(12)]
    others = [vote(100 + 10 * n + c, f"u{n}", 100 * n + c) for n in range(12) for c in range(3)]
    assert not any(lockstep(Guard(POLICY), [*votes, *others]))


def test_what_is_seen_does_not_depend_on_how_the_log_is_cut():
    votes = [vote(10 * c + n, f"fan{n}", c) for c in range(8) for n in range(4)]
    whole, parts = Guard(POLICY), Guard(POLICY)
    expected = whole.submit(votes)
    assert [d for at in range(0, 32, 5) for d in parts.submit(votes[at : at + 5])] == expected


def test_clusters_that_meet_become_one():
    clusters = campaign.join("c", ["d"], campaign.join("a", ["b"], {}, 10), 20)
    names = {who: member.cluster for who, member in clusters.items()}
    assert names == {"a": "a", "b": "a", "c": "c", "d": "c"}
    joined = campaign.join("b", ["d"], clusters, 30)
    assert {member.cluster for member in joined.values()} == {"a"}
    assert {who: member.since for who, member in joined.items()} == {
        who: member.since for who, member in clusters.items()
    }


def test_when_an_account_was_last_in_lockstep_is_known_to_the_day():
    clusters = campaign.join("a", ["b"], {}, 0)
    assert campaign.join("a", ["b"], clusters, 80_000) == clusters
    later = campaign.join("a", ["b"], clusters, 90_000)
    assert [(m.since, m.at) for m in later.values()] == [(0, 90_000)] * 2
