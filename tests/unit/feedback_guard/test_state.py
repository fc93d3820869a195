"""What is remembered is bounded, comes back as it was, and leaks with event time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.feedback_guard.budgets import Bucket
from services.feedback_guard.state import (
    Account,
    Claim,
    Habit,
    account_id,
    mark,
    pack_account,
    pack_claim,
    slot,
    unpack_account,
    unpack_claim,
)

TIMES = st.floats(min_value=0, max_value=1e10)


def fullest() -> Claim:
    """Return a claim that as many people as possible voted on and were asked about."""
    claim = Claim()
    for number in range(12):
        answer = f"uzunca bir yanıt, ığüşöç içeren {number}"
        support = claim.support(answer)
        for voter in range(40):
            support = support.voted(account_id("t", f"u{voter}")).backed(
                account_id("t", f"o{voter}")
            )
            for right in (True, False):
                support = support.reviewed(account_id("t", f"r{voter}"), right)
                support = support.sampled(account_id("t", f"s{voter}"), right)
            support = support.preferred(mark(f"yanıt {voter}"), voter % 2 == 0)
        claim = claim.with_support(answer, support)
    return claim


def test_a_claim_takes_at_most_two_kilobytes():
    claim = fullest()
    assert len(pack_claim(claim).encode()) <= 2_000
    assert unpack_claim(pack_claim(claim), None) == claim


def test_a_user_takes_at_most_half_a_kilobyte():
    names = ["sum", "medical", "legal", "money", "code", "place", "time", "person", "amount"]
    names += ["reason", "other"]
    habit = Habit(999, (-11.52,) * 6, (11.52,) * 6, 3.99, 1893456000)
    full = dict.fromkeys(names, (19.55, 19.55))
    account = Account(right=20.0, wrong=20.0, subjects=full, habit=habit)
    assert len(pack_account(account).encode()) + len(account_id("t", "u" * 200)) <= 500
    assert unpack_account(pack_account(account)) == account


def test_an_account_is_known_by_a_hash_that_names_no_tenant_twice():
    assert account_id("a", "ayşe") != account_id("b", "ayşe")
    assert "ay" not in account_id("a", "ayşe") or len(account_id("a", "ayşe")) == 11


@given(st.text(max_size=200), st.text(max_size=200))
def test_long_answers_keep_slots_of_their_own(one: str, other: str):
    assert (slot(one) == slot(other)) == (one == other)
    assert len(slot(one).encode()) <= 24


@given(TIMES, TIMES)
def test_a_bucket_never_gains_by_waiting_nor_by_time_that_runs_back(start: float, then: float):
    level = Bucket(5, start).level_at(then, 60)
    assert 0 <= level <= 5
    assert level == 5 or then > start
