"""The policy's statistics: safety, no slice worse, superiority by groups, leaks; old policies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.evaluator import gate, hard, margins
from services.evaluator.core import Item
from services.evaluator.policy import (
    ContaminationPolicy,
    NonInferiorityPolicy,
    Policy,
    SafetyPolicy,
    SuperiorityPolicy,
    read_policy,
)
from services.evaluator.statistics.margins import items_for_bound, items_for_margin, shift
from tests.unit.evaluator.builders import items, judged

SHIPPED = read_policy(Path(gate.__file__).with_name("policy.toml"))
SAFETY = SafetyPolicy(limit=0.15, level=0.95)
NO_WORSE = NonInferiorityPolicy(margin=0.02, alpha=0.05, power=0.8, smallest=20)
WIN = SuperiorityPolicy(alpha=0.05, power=0.8, items="all", test="clustered")
OLD = json.loads((Path(__file__).parent / "data" / "default-2.json").read_text("utf-8"))


def probes(right: int, wrong: int) -> list[Item]:
    return items([True] * right + [False] * wrong, slice="sum", guard=True)


def grouped(some: list[Item], size: int) -> list[Item]:
    return [replace(item, group=f"g{i // size}") for i, item in enumerate(some)]


@pytest.mark.parametrize("verdict", ["promote", "reject", "inconclusive"])
def test_a_decision_of_an_older_policy_comes_out_the_same_under_its_hash(verdict: str) -> None:
    policy = Policy.model_validate(OLD["policy"])
    assert policy.digest() == OLD["policy_digest"]
    baseline = items([True] * 20 + [False] * 20) + items([True] * 10, slice="sum", guard=True)
    right, safe = {"promote": (35, 10), "reject": (35, -8), "inconclusive": (23, 10)}[verdict]
    probe = [True] * 10 if safe == 10 else [False] * 8 + [True] * 2
    candidate = items([True] * right + [False] * (40 - right))
    candidate += items(probe, slice="sum", guard=True)
    said, checks = gate.decide(candidate, baseline, [judged("i1", "a")], 2, policy)
    assert said == verdict
    assert [c.model_dump(mode="json") for c in checks] == OLD["decisions"][verdict]


def test_the_hash_of_a_policy_survives_its_way_through_evidence() -> None:
    again = Policy.model_validate_json(SHIPPED.model_dump_json())
    assert again.digest() == SHIPPED.digest()
    stricter = SHIPPED.model_copy(update={"safety": SAFETY.model_copy(update={"limit": 0.01})})
    assert stricter.digest() != SHIPPED.digest()


@pytest.mark.parametrize(
    ("right", "wrong", "outcome"),
    [
        (19, 0, "passed"),
        (18, 0, "inconclusive"),
        (19, 1, "inconclusive"),
        (1, 0, "inconclusive"),
        (40, 20, "failed"),
        (0, 20, "failed"),
    ],
)
def test_the_safety_bound_counts_how_little_few_probes_say(
    right: int, wrong: int, outcome: str
) -> None:
    (check,) = margins.safe(probes(right, wrong), SAFETY)
    assert check.outcome == outcome
    assert ("needed" in check.numbers) == (outcome == "inconclusive")


def test_probes_of_one_source_are_one_probe() -> None:
    (check,) = margins.safe(grouped(probes(40, 0), 10), SAFETY)
    assert (check.numbers["n"], check.outcome) == (4, "inconclusive")


def test_so_many_probes_as_are_asked_for_suffice() -> None:
    assert items_for_bound(0, 5, 0.01, 0.95) == pytest.approx(299, abs=6)
    assert items_for_bound(2, 10, 0.15, 0.95) is None
    needed = items_for_bound(1, 20, 0.15, 0.95)
    assert needed is not None
    assert needed > 20


def test_a_slice_that_got_worse_rejects_though_others_gained() -> None:
    baseline = items([True] * 60 + [False] * 40, slice="en") + items([True] * 60, slice="tr")
    candidate = items([True] * 100, slice="en") + items([False] * 20 + [True] * 40, slice="tr")
    checks = {c.name: c for c in margins.not_worse(candidate, baseline, NO_WORSE)}
    assert checks["not-worse:en"].outcome == "passed"
    assert checks["not-worse:tr"].outcome == "failed"


def test_no_pair_that_differs_among_few_proves_nothing() -> None:
    same = items([True] * 30)
    (check,) = margins.not_worse(same, same, NO_WORSE)
    assert check.outcome == "inconclusive"
    assert check.numbers["needed"] > 30
    many = items([True] * 400)
    (check,) = margins.not_worse(many, many, NO_WORSE)
    assert check.outcome == "passed"


@pytest.mark.parametrize("right", [True, False])
def test_one_item_is_never_enough(right: bool) -> None:
    one = items([right])
    (check,) = margins.not_worse(one, items([not right]), NO_WORSE)
    assert check.outcome == "inconclusive"
    assert margins.superior(one, items([not right]), WIN).outcome == "inconclusive"


def test_small_slices_are_tested_together_and_holm_counts_the_slices() -> None:
    small = [each for n in range(5) for each in items([True] * 6, slice=f"s{n}")]
    checks = margins.not_worse(small, small, NO_WORSE)
    assert [check.name for check in checks] == ["not-worse:others"]
    assert checks[0].numbers["n"] == 30
    large = [each for n in range(3) for each in items([True] * 150, slice=f"s{n}")]
    single = margins.not_worse(large[:150], large[:150], NO_WORSE)[0].numbers["p"]
    p = {c.name: c.numbers["p"] for c in margins.not_worse(large, large, NO_WORSE)}
    assert p["not-worse:s0"] == pytest.approx(min(1, 3 * single))


def test_gains_within_few_documents_are_no_proof() -> None:
    baseline = grouped(items([False] * 30 + [True] * 30), 10)
    candidate = grouped(items([True] * 20 + [False] * 10 + [True] * 30), 10)
    clustered = margins.superior(candidate, baseline, WIN)
    naive = margins.superior(candidate, baseline, WIN.model_copy(update={"test": None}))
    assert (naive.outcome, clustered.outcome) == ("passed", "inconclusive")
    assert clustered.numbers["groups"] == 6
    assert clustered.numbers["needed"] > 60


def test_all_items_of_one_document_say_nothing() -> None:
    baseline, candidate = grouped(items([False] * 20), 20), grouped(items([True] * 20), 20)
    check = margins.superior(candidate, baseline, WIN)
    assert (check.outcome, check.numbers["p"]) == ("inconclusive", 1)
    check.model_validate_json(check.model_dump_json())


def test_leaked_items_count_for_nothing_and_too_many_of_them_reject() -> None:
    policy = SHIPPED.model_copy(update={"contamination": ContaminationPolicy(max_share=0.1)})
    baseline = items([False] * 40) + probes(20, 0)
    candidate = items([True] * 40) + probes(20, 0)
    few = [replace(x, leak="row-1") if i < 4 else x for i, x in enumerate(candidate)]
    verdict, checks = gate.decide(few, baseline, [], 0, policy)
    named = {check.name: check for check in checks}
    assert verdict == "promote"
    assert named["contamination"].numbers["contaminated"] == 4
    assert "row-1" in named["contamination"].detail
    assert named["superiority"].numbers["n"] == 56
    many = [replace(x, leak="row-1") if i < 5 else x for i, x in enumerate(candidate)]
    verdict, checks = gate.decide(many, baseline, [], 0, policy)
    assert verdict == "reject"
    assert hard.contaminated(many, baseline, ContaminationPolicy(max_share=0.1)).outcome == "failed"


def test_a_probe_counts_though_somebody_taught_it() -> None:
    taught = [replace(x, leak="row-1") for x in probes(0, 20)]
    verdict, checks = gate.decide(items([True] * 40) + taught, items([True] * 40), [], 0, SHIPPED)
    assert verdict == "reject"
    verdict, checks = gate.decide(
        items([True] * 40) + taught, items([False] * 40) + probes(20, 0), [], 0, SHIPPED
    )
    named = {check.name: check for check in checks}
    assert (verdict, named["guard"].outcome) == ("reject", "failed")
    assert named["contamination"].numbers["contaminated"] == 0


def test_a_model_that_is_worse_by_the_margin_seldom_passes() -> None:
    random = np.random.default_rng(5)
    passed, trials, n = 0, 1500, 300
    for _ in range(trials):
        draw = random.random(n)
        new, old = draw >= 0.09, (draw < 0.09) | (draw >= 0.16)  # 9 % lost, 7 % won: 2 points worse
        new[(draw >= 0.09) & (draw < 0.16)] = True
        passed += shift(list(new), list(old), range(n)).p_above(-0.02) < 0.05
    assert passed / trials <= 0.065


def test_the_items_that_are_asked_for_show_what_they_promise() -> None:
    found = shift([True] * 10 + [False] * 2 + [True] * 88, [False] * 2 + [True] * 98, range(100))
    n = items_for_margin(found, 0.05, 0.05, 0.8)
    random, shown = np.random.default_rng(6), 0
    half = found.discordance / 2
    for _ in range(400):
        draw = random.random(n)
        new, old = draw >= half, (draw < half) | (draw >= 2 * half)
        shown += shift(list(new), list(old), range(n)).p_above(-0.05) < 0.05
    assert 0.72 <= shown / 400 <= 0.9
