"""Each check of the gate fails alone, and what is inconclusive never promotes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError
from imece.events import Check, JudgementCompleted, ModelRef
from services.evaluator import blind, gate, policy
from services.evaluator.core import Item
from services.evaluator.statistics.paired import mcnemar
from tests.unit.evaluator.builders import items, judged

POLICY = policy.read_policy(Path(policy.__file__).with_name("policy.toml"))
BASELINE = items([True] * 20 + [False] * 20) + items([True] * 20, slice="sum", guard=True)
BETTER = items([True] * 35 + [False] * 5)
SAFE = items([True] * 20, slice="sum", guard=True)


def decide(
    candidate: list[Item],
    baseline: list[Item] = BASELINE,
    judgements: tuple[JudgementCompleted, ...] = (),
    asked: int = 0,
) -> tuple[str, dict[str, Check]]:
    verdict, checks = gate.decide(candidate, baseline, judgements, asked, POLICY)
    return verdict, {check.name: check for check in checks}


def test_a_better_and_safe_candidate_is_promoted() -> None:
    verdict, checks = decide(BETTER + SAFE)
    assert verdict == "promote"
    assert checks["superiority"].numbers["p"] < 0.05
    assert {check.outcome for check in checks.values()} == {"passed"}


def test_a_better_candidate_that_learnt_a_lie_is_rejected() -> None:
    poisoned = items([False] * 16 + [True] * 4, slice="sum", guard=True)
    verdict, checks = decide(BETTER + poisoned)
    assert verdict == "reject"
    assert checks["guard"].outcome == "failed"
    assert checks["guard:sum"].numbers["losses"] == 16


def test_a_lie_about_one_fact_is_seen_beside_many_sound_facts() -> None:
    sound = items([True] * 90, slice="capital", guard=True)
    lie = items([False] * 4 + [True] * 6, slice="sum", guard=True)
    verdict, checks = decide(BETTER + sound + lie, BASELINE + sound)
    assert verdict == "reject"
    assert checks["guard"].outcome == "passed"
    assert checks["guard:capital"].outcome == "passed"
    assert checks["guard:sum"].outcome == "failed"


def test_probes_that_were_bad_before_must_be_good_enough_now() -> None:
    bad = items([True] * 5 + [False] * 5, slice="sum", guard=True)
    assert decide(BETTER + bad, BETTER[:0] + BASELINE[:40] + bad)[0] == "reject"


def test_an_equal_candidate_is_inconclusive() -> None:
    verdict, checks = decide(BASELINE)
    assert verdict == "inconclusive"
    assert checks["superiority"].numbers["p"] == 1
    assert "no advantage" in checks["superiority"].detail


def test_too_small_an_advantage_says_how_many_items_would_settle_it() -> None:
    slightly = items([True] * 23 + [False] * 17)
    verdict, checks = decide(slightly + SAFE)
    assert verdict == "inconclusive"
    assert checks["superiority"].numbers["needed"] > 40


def test_without_probes_nothing_is_promoted() -> None:
    verdict, checks = decide(BETTER, BASELINE[:40])
    assert (verdict, checks["guard"].outcome) == ("inconclusive", "inconclusive")


def test_items_that_only_one_model_answered_are_a_failure() -> None:
    verdict, checks = decide(BETTER + SAFE, BASELINE[1:])
    assert (verdict, checks["paired-items"].outcome) == ("reject", "failed")


def test_no_items_at_all_are_inconclusive() -> None:
    assert decide([], [])[0] == "inconclusive"


@pytest.mark.parametrize("verdict", ["a", "b", "tie", "unscored"])
def test_a_judge_never_changes_the_verdict(verdict: str) -> None:
    told = tuple(judged(f"i{i}", verdict) for i in range(50))
    for candidate in (
        BETTER + SAFE,
        BASELINE,
        BETTER + items([False] * 10, slice="sum", guard=True),
    ):
        assert decide(candidate, judgements=told, asked=60)[0] == decide(candidate)[0]


def test_unscored_and_missing_judgements_are_counted_and_are_no_votes() -> None:
    best = "a" if blind.candidate_is_a("e", "i1") else "b"
    told = (judged("i1", best), judged("i2", "unscored"), judged("i3", "tie"))
    numbers = decide(BASELINE, judgements=told, asked=5)[1][gate.INFORMATIVE].numbers
    assert numbers == {
        "candidate": 1,
        "baseline": 0,
        "tie": 1,
        "unscored": 1,
        "missing": 2,
        "asked": 5,
    }


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1), (5, 0, 0.0625), (6, 0, 0.03125), (9, 1, 0.021484375)]
)
def test_mcnemar_is_exact(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p)
    assert mcnemar(losses, wins) == pytest.approx(p)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_a_p_value_is_a_probability(wins: int, losses: int) -> None:
    assert 0 <= mcnemar(wins, losses) <= 1


@given(st.permutations(range(60)))
def test_the_order_of_items_changes_nothing(order: list[int]) -> None:
    candidate = BETTER + SAFE
    assert decide([candidate[i] for i in order]) == decide(candidate)


def test_a_promotion_won_against_another_model_than_the_champion_is_withheld() -> None:
    base = ModelRef(name="base", base="/base")
    champion = ModelRef(name="c", base="/base", adapter="/c", adapter_digest="sha256:" + "1" * 64)
    assert gate.against_champion("promote", (), base, None) == ("promote", ())
    assert gate.against_champion("promote", (), champion, champion) == ("promote", ())
    assert gate.against_champion("reject", (), base, champion) == ("reject", ())
    verdict, (check,) = gate.against_champion("promote", (), base, champion)
    assert (verdict, check.outcome) == ("inconclusive", "inconclusive")


@pytest.mark.parametrize(
    ("text", "said"),
    [("name = ", "policy"), ('name = "x"', "guard"), ("colour = 1", "name")],
)
def test_a_broken_policy_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=said):
        policy.read_policy(path)
    with pytest.raises(ConfigError, match=r"no\.toml"):
        policy.read_policy(tmp_path / "no.toml")


def test_harm_to_clean_items_rejects_whatever_the_probes_gain() -> None:
    weak = items([False] * 10, slice="sum", guard=True)
    baseline = items([True] * 20 + [False] * 20) + weak
    worse = items([True] * 10 + [False] * 30) + SAFE
    verdict, checks = decide(worse, baseline)
    assert verdict == "reject"
    assert checks["clean"].outcome == "failed"


def test_missing_answers_are_named_and_withhold_a_promotion() -> None:
    lost = [replace(each, unscored="timeout") for each in BETTER[:2]]
    verdict, checks = gate.decide([*lost, *BETTER[2:], *SAFE], BASELINE, [], 0, POLICY)
    (check,) = [c for c in checks if c.name == "unscored"]
    assert (verdict, check.outcome) == ("inconclusive", "inconclusive")
    assert "timeout 2" in check.detail
    probe = replace(SAFE[0], unscored="timeout")
    verdict, _ = gate.decide([*BETTER, probe, *SAFE[1:]], BASELINE, [], 0, POLICY)
    assert verdict == "inconclusive"
