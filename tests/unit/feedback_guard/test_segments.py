"""Honest feedback of every kind is rejected at most as often as the sample can prove."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from imece.cli import guard as cli
from imece.cli.common import as_dict
from imece.errors import ConfigError
from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    Reason,
    ReviewAnswered,
    Thumb,
)
from services.feedback_guard import audit, calibrate, core, segments, store
from services.feedback_guard.policy import Audit, Policy
from services.feedback_guard.replay import Guard
from services.feedback_guard.segments import Honest
from services.feedback_guard.state import Account, Claim
from tests.unit.feedback_guard.policies import SHIPPED

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ALL = SHIPPED.model_copy(update={"audit": Audit(share=1.0)})


def scored(
    number: int = 0, policy: Policy = SHIPPED, prompt: str = "Who is it?", **more: Any
) -> FeedbackScored:
    data = FeedbackSubmitted(
        user=f"u{number}",
        response=f"r{number}",
        prompt=prompt,
        answer="Ali Bey.",
        **{"signal": Correction(text="Zeynep Hanım"), **more},
    )
    event = Envelope(data, f"e{number}", "app", NOW)
    return core.score(event, Account(), core.Admission(None, 1.0), policy)


def decided(of: FeedbackScored, verdict: str = "quarantine") -> FeedbackDecided:
    return FeedbackDecided(
        feedback=of.feedback_id,
        feedback_source=of.feedback_source,
        user=of.feedback.user,
        verdict=verdict,  # type: ignore[arg-type]
        reasons=(Reason(code="contradicts_answer", nats=2), Reason(code="second_opinion", nats=-9)),
        score=-7,
        policy="p",
        record_set="feedback",
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Who runs our canteen?", "latin"),
        ("Türkiye'nin başkenti neresi?", "turkish"),
        ("ÇALIŞMA SAATLERİ", "turkish"),
        ("Кто это?", "cyrillic"),
        ("من هذا؟", "arabic"),
        ("これはだれですか", "hiragana"),
        ("2+2 = ?", "none"),
    ],
)
def test_the_language_is_told_by_letters(text: str, name: str):
    assert segments.language(text) == name


def test_feedback_is_of_a_tenant_a_kind_an_age_and_a_language():
    young = scored(account_created=NOW - timedelta(days=2), tenant="okul")
    names = ("tenant:okul", "kind:correction", "account:young", "language:latin")
    assert segments.of(young, SHIPPED) == names
    old = scored(account_created=NOW - timedelta(days=200), signal=Thumb(up=False))
    assert segments.of(old, SHIPPED)[1:3] == ("kind:thumb_down", "account:old")
    assert segments.of(scored(), SHIPPED)[2] == "account:unknown"


def row(honest: Sequence[Honest], name: str, rate: float = 0.01) -> dict[str, Any]:
    return next(each for each in segments.table(honest, rate) if each["segment"] == name)


def test_a_small_sample_says_so_and_allows_no_threshold():
    few = row([Honest(("kind:a",), 0.0, False)] * 40, "kind:a")
    assert few["note"] == "too few to say: 368 are needed"
    assert (few["enough"], few["threshold"]) == (False, None)
    many = row([Honest(("kind:a",), 0.0, False)] * 368, "kind:a")
    assert (many["enough"], many["note"]) == (True, "")
    assert many["threshold"] is not None
    assert many["upper"] <= 0.01
    assert segments.table([], 0.01)[0]["honest"] == 0


def test_a_segment_that_fares_badly_is_named_beside_others_that_do_not():
    good = [Honest(("kind:a",), 0.0, False)] * 900
    bad = [Honest(("kind:b",), 5.0, n < 60) for n in range(600)]
    found = segments.table([*good, *bad], 0.01)
    worst = segments.worst(found)
    assert worst is not None
    assert worst["segment"] == "kind:b"
    assert worst["upper"] > 0.1
    assert worst["note"] == "above the wanted rate"
    assert segments.worst(segments.table(good[:5], 0.01)) is None


def test_the_bounds_of_all_segments_hold_at_once():
    dice, broken, rates = random.Random(3), 0, {"a": 0.02, "b": 0.05, "c": 0.1, "d": 0.2}
    for _ in range(100):
        honest = [
            Honest((name,), dice.random(), dice.random() < rate)
            for name, rate in rates.items()
            for _ in range(150)
        ]
        told = {each["segment"]: each["upper"] for each in segments.table(honest, 0.05)}
        broken += any(told[name] < rate for name, rate in rates.items())
    assert broken <= 11


def test_a_threshold_of_a_segment_keeps_its_share_of_the_honest():
    dice = random.Random(5)
    honest = [Honest(("kind:a",), dice.gauss(0, 1), False) for _ in range(3000)]
    cut = row(honest, "kind:a", 0.05)["threshold"]
    assert 1.645 < cut < 2.2


def test_suspicion_is_the_score_without_what_is_known_of_the_answer():
    assert segments.suspicion(decided(scored())) == 2


def test_a_policy_may_reject_a_segment_at_another_score():
    marks = tuple(Reason(code=code, nats=3.0) for code in ("injection", "toxic"))
    item = scored().model_copy(update={"reasons": marks})
    assert core.decide(item, Claim(), SHIPPED).verdict == "reject"
    special = {"kind:correction": 9.0, "tenant:default": 5.0}
    thresholds = SHIPPED.thresholds.model_copy(update={"reject_for": special})
    lenient = SHIPPED.model_copy(update={"thresholds": thresholds})
    assert segments.reject_at(item, lenient) == 9.0
    assert core.decide(item, Claim(), lenient).verdict == "quarantine"


def test_rejections_are_checked_by_people_unless_a_rule_made_them():
    item = scored()
    assert audit.drawn("k", item, decided(item, "reject"), ALL)
    assert not audit.drawn("k", item, decided(item), ALL)
    ruled = item.model_copy(update={"hard": "rate"})
    assert not audit.drawn("k", ruled, decided(ruled, "reject"), ALL)


def events(count: int, wrong: int) -> list[Envelope[Any]]:
    """Return corrections that people found right, of which the guard rejected `wrong`."""
    found: list[Envelope[Any]] = []
    for number in range(count):
        item = scored(number)
        verdict = decided(item, "reject" if number < wrong else "quarantine")
        key = store.key_of(item)
        answer = ReviewAnswered(item=f"feedback:{key}", reviewer="r", choice=0)
        late = ReviewAnswered(item=f"feedback:{key}", reviewer="s", choice=1)
        for kind, data in (("s", item), ("d", verdict), ("a", answer), ("l", late)):
            found.append(Envelope(data, f"{kind}{number}", "guard", NOW))
    return found


def test_bounds_are_computed_from_what_the_topics_hold(monkeypatch: pytest.MonkeyPatch):
    log = events(300, 3)
    honest = calibrate.honest(log, "audited", ALL)
    assert (len(honest), sum(each.rejected for each in honest)) == (300, 3)
    part = SHIPPED.model_copy(update={"audit": Audit(share=0.2)})
    assert 30 <= len(calibrate.honest(log, "audited", part)) <= 90
    assert len(calibrate.honest(log, "confirmed", part)) == 300
    told = cli._asked_guard("calibrate", ["0.05", "confirmed"], log)
    whole = next(each for each in told if each["segment"] == "all")
    assert (whole["honest"], whole["rejected"]) == (300, 3)
    assert 0.01 < whole["upper"] < 0.05
    with pytest.raises(ConfigError, match="rate 2"):
        calibrate.main(["2", "audited"], [])
    assert json.loads(calibrate.main(["0.1", "audited"], [json.dumps(as_dict(log[0]))]))


def test_what_verifiers_confirm_counts_only_when_all_that_is_confirmed_is_asked_for():
    item = scored(prompt="What is 2+2?", signal=Thumb(up=True))
    sure = decided(item).model_copy(update={"reasons": (Reason(code="confirmed_by_arithmetic"),)})
    log = [Envelope(data, str(n), "guard", NOW) for n, data in enumerate((item, sure))]
    assert calibrate.honest(log, "audited", ALL) == []
    assert len(calibrate.honest(log, "confirmed", ALL)) == 1


def test_the_service_tells_the_worst_segment_that_can_be_known():
    whole = Audit(share=1.0, false_rejections=0.5)
    guard = Guard(SHIPPED.model_copy(update={"audit": whole}))
    votes = [
        Envelope(scored(n, prompt=f"Who leads team {n}?").feedback, f"e{n}", "app", NOW)
        for n in range(12)
    ]
    guard.submit(votes)
    for vote in votes:
        key = store.feedback_key(vote.source, vote.id)
        guard._database.transact(audit.book, key, True, NOW, guard.policy)
        guard._database.transact(audit.book, key, True, NOW, guard.policy)
    metric = "imece_feedback_false_rejection_upper"
    found = [s for m in REGISTRY.collect() if m.name == metric for s in m.samples]
    assert len(found) == 1
    assert found[0].labels["segment"] in {*segments.of(scored(), SHIPPED), "all"}
    assert 0 < found[0].value < 0.5
