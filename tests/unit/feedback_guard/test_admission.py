"""Who is let in: tokens, one vote for each answer, rates that leak with event time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imece import tokens
from imece.errors import ConfigError
from imece.events import Envelope, FeedbackSubmitted, Thumb
from imece.runtime.settings import Settings
from services.feedback_guard import app
from services.feedback_guard.policy import load
from services.feedback_guard.replay import Guard
from services.feedback_guard.settings import GuardSettings

SHIPPED = Path("services/feedback_guard/policy.toml")
POLICY = load(SHIPPED)
REQUIRED = POLICY.model_copy(
    update={"admission": POLICY.admission.model_copy(update={"tokens": "required"})}
)
KEYS = {"k1": b"a secret of sixteen bytes"}
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def event(number: int, token: str | None = None, **more: str) -> Envelope[FeedbackSubmitted]:
    data = {
        "user": "ayşe",
        "response": f"r-{number}",
        "prompt": f"What is {number} + 1?",
        "answer": str(number + 1),
    } | more
    feedback = FeedbackSubmitted.model_validate({**data, "signal": Thumb(up=True), "token": token})
    return Envelope(feedback, f"e-{number}", "test", NOW + timedelta(seconds=number))


def proof(number: int, hours: int = 1) -> str:
    return tokens.mint(KEYS, f"r-{number}", "ayşe", NOW + timedelta(hours=hours))


def outcome(guard: Guard, *events: Envelope[FeedbackSubmitted]) -> list[str]:
    return [d.reasons[0].code if d.verdict == "reject" else d.verdict for d in guard.submit(events)]


def test_required_tokens_keep_out_whoever_saw_nothing():
    guard = Guard(REQUIRED, keys=KEYS)
    wrong = [event(1), event(2, "1.k1.9.x.y"), event(3, proof(4)), event(5, proof(5, hours=-1))]
    codes = ["bad_token", "bad_token", "off_exposure", "expired_token"]
    assert outcome(guard, *wrong) == codes
    assert outcome(guard, event(6, proof(6))) == ["accept"]


def test_a_forged_vote_does_not_use_up_the_real_one():
    guard = Guard(REQUIRED, keys=KEYS)
    forged = Envelope(event(1, "1.k1.9.x.y").data, "forged", "test", NOW)
    assert outcome(guard, forged, event(1, proof(1))) == ["bad_token", "accept"]


def test_without_required_tokens_an_unproven_vote_earns_less():
    guard = Guard(POLICY, keys=KEYS)
    assert outcome(guard, event(1), event(2, proof(2)), event(3, "1.k1.9.x.y")) == [
        "accept",
        "accept",
        "bad_token",
    ]


@pytest.mark.parametrize("name", ["user", "device", "tenant"])
def test_who_sends_faster_than_the_rate_is_rejected_until_time_passes(name: str):
    rules = POLICY.admission.model_copy(update={f"{name}_per_hour": 5})
    guard = Guard(POLICY.model_copy(update={"admission": rules}))
    burst = [event(n, device="phone") for n in range(8)]
    assert outcome(guard, *burst) == ["accept"] * 5 + ["rate"] * 3
    assert outcome(guard, *burst) == ["accept"] * 5 + ["rate"] * 3
    assert outcome(guard, event(3600, device="phone")) == ["accept"]


def test_a_policy_that_requires_tokens_needs_keys(tmp_path: Path):
    strict = tmp_path / "policy.toml"
    text = SHIPPED.read_text("utf-8").replace('tokens = "optional"', 'tokens = "required"')
    strict.write_text(text, "utf-8")

    async def publish(*_: object) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="TOKEN_KEYS"):
        app.build(Settings(home=tmp_path), publish, GuardSettings(policy=strict))
