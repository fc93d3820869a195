"""Tokens prove what they were minted for, until they expire, with any key that still verifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError
from imece.tokens import check, mint, parse_keys

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OLD = {"k1": b"a secret of sixteen bytes"}
BOTH = {"k2": b"another secret, as long", **OLD}


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_token_verifies_for_its_response_and_user(response: str, user: str):
    assert check(mint(BOTH, response, user, LATER), BOTH, response, user, NOW) is None


def test_a_token_for_another_answer_or_user_is_off_exposure():
    token = mint(OLD, "r1", "ayşe", LATER)
    assert check(token, OLD, "r2", "ayşe", NOW) == "off_exposure"
    assert check(token, OLD, "r1", "ali", NOW) == "off_exposure"


def test_a_token_expires_at_its_time():
    token = mint(OLD, "r", "u", NOW)
    assert check(token, OLD, "r", "u", NOW) is None
    assert check(token, OLD, "r", "u", NOW + timedelta(seconds=1)) == "expired_token"


def test_keys_rotate_by_their_id():
    assert check(mint(OLD, "r", "u", LATER), BOTH, "r", "u", NOW) is None
    assert check(mint(BOTH, "r", "u", LATER), OLD, "r", "u", NOW) == "bad_token"


@given(st.text(max_size=100))
def test_what_no_key_made_is_bad(token: str):
    assert check(token, OLD, "r", "u", NOW) == "bad_token"


@given(st.integers(min_value=0, max_value=40), st.sampled_from("aA0._-é"))
def test_a_changed_token_never_verifies(place: int, letter: str):
    token = mint(OLD, "r", "u", LATER)
    changed = token[:place] + letter + token[place + 1 :]
    assert (check(changed, OLD, "r", "u", NOW) is None) == (changed == token)


@pytest.mark.parametrize("text", ["short:secret", ":0123456789abcdef", "0123456789abcdef"])
def test_a_key_needs_an_id_and_sixteen_bytes_and_is_never_shown(text: str):
    with pytest.raises(ConfigError) as error:
        parse_keys(text)
    assert "0123456789abcdef" not in str(error.value)
    assert parse_keys("a:0123456789abcdef, b:fedcba9876543210").keys() == {"a", "b"}
