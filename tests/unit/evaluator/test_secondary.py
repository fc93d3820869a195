"""Secondary metrics: a loss that is shown rejects, a gain promotes nothing, Holm over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError
from services.evaluator import gate
from services.evaluator.core import Item
from services.evaluator.policy import SecondaryPolicy, read_policy
from services.evaluator.secondary import secondary
from tests.unit.evaluator.builders import items

SHIPPED = read_policy(Path(gate.__file__).with_name("policy.toml"))
TEXTS = SecondaryPolicy(metrics=("rougeL", "chrf", "ter"), alpha=0.05)


def scored(values: Sequence[float], name: str = "rougeL", **more: Any) -> list[Item]:
    made = items([True] * len(values))
    return [replace(i, scores={name: v, **more}) for i, v in zip(made, values, strict=True)]


def outcomes(new: Sequence[Item], old: Sequence[Item], policy: SecondaryPolicy) -> dict[str, str]:
    return {c.name.partition(":")[2]: c.outcome for c in secondary(new, old, policy)}


def one(name: str) -> SecondaryPolicy:
    return SecondaryPolicy.model_validate({"metrics": (name,), "alpha": 0.05})


def test_a_loss_that_is_shown_fails_and_a_gain_passes_and_says_so() -> None:
    low, high = [0.2, 0.3] * 20, [0.5, 0.7] * 20
    (worse,) = secondary(scored(low), scored(high), one("rougeL"))
    assert (worse.outcome, worse.detail.partition(":")[0]) == ("failed", "worse")
    (better,) = secondary(scored(high), scored(low), one("rougeL"))
    assert (better.outcome, better.detail.partition(":")[0]) == ("passed", "better")


def test_fewer_edits_are_better() -> None:
    few, many = [10.0, 20.0] * 20, [50.0, 40.0] * 20
    assert outcomes(scored(few, "ter"), scored(many, "ter"), one("ter")) == {"ter": "passed"}
    assert outcomes(scored(many, "ter"), scored(few, "ter"), one("ter")) == {"ter": "failed"}


def test_all_equal_scores_show_nothing() -> None:
    same = scored([0.5] * 40)
    (check,) = secondary(same, same, one("rougeL"))
    assert (check.outcome, check.numbers["p"]) == ("passed", 1)


def test_a_metric_that_nobody_measured_withholds_and_says_what_to_do() -> None:
    assert outcomes(scored([0.5] * 40), scored([0.5] * 40), TEXTS) == {
        "rougeL": "passed",
        "chrf": "inconclusive",
        "ter": "inconclusive",
    }
    (check,) = secondary(scored([0.1]), scored([0.9]), one("rougeL"))
    assert (check.outcome, check.numbers["groups"]) == ("inconclusive", 1)
    assert "ask for it in the suite" in check.detail
    (none,) = secondary([], [], one("rougeL"))
    assert none.outcome == "inconclusive"


def test_items_of_few_sources_are_too_few() -> None:
    def grouped(some: list[Item]) -> list[Item]:
        return [replace(item, group=f"g{i // 10}") for i, item in enumerate(some)]

    (check,) = secondary(grouped(scored([0.1] * 60)), grouped(scored([0.9] * 60)), one("rougeL"))
    assert (check.outcome, check.numbers["groups"]) == ("inconclusive", 6)


def test_an_encoders_cosine_is_the_policys_cosine() -> None:
    low, high = scored([0.1, 0.2] * 20, "cosine@m"), scored([0.8, 0.9] * 20, "cosine@m")
    assert outcomes(low, high, one("cosine")) == {"cosine": "failed"}


def test_holm_counts_every_metric_that_the_policy_names() -> None:
    dice = np.random.default_rng(3)
    old = dice.normal(0.5, 0.1, 60)
    new = old + dice.normal(-0.026, 0.1, 60)
    (alone,) = secondary(scored(new), scored(old), one("rougeL"))
    flat = {"chrf": 50.0, "ter": 20.0}
    among = secondary(scored(new, **flat), scored(old, **flat), TEXTS)[0]
    assert among.numbers["p"] == pytest.approx(min(1, 3 * alone.numbers["p"]))


def test_eight_metrics_without_a_difference_seldom_reject() -> None:
    names = ("f1", "rouge1", "rouge2", "rougeL", "rougeLsum", "bleu", "chrf", "cosine")
    policy = SecondaryPolicy(metrics=names, alpha=0.05)
    dice, runs, wrong = np.random.default_rng(11), 200, 0
    for _ in range(runs):
        noise = dice.normal(0, 0.1, (2, 30, len(names)))
        new, old = (
            [
                replace(i, scores=dict(zip(names, map(float, row), strict=True)))
                for i, row in zip(items([True] * 30), side, strict=True)
            ]
            for side in noise
        )
        wrong += "failed" in outcomes(new, old, policy).values()
    assert wrong / runs <= 0.06  # one-sided harm of a two-sided 5 %: about 0.025 is expected


def test_the_gate_rejects_for_it_and_never_promotes_for_it() -> None:
    policy = SHIPPED.model_copy(update={"secondary": one("rougeL")})
    safe = items([True] * 20, slice="sum", guard=True)
    wins = items([True] * 40), items([False] * 40)

    def decided(new: list[Item], old: list[Item], news: float, olds: float) -> str:
        candidate = [replace(i, scores={"rougeL": news + n / 999}) for n, i in enumerate(new)]
        baseline = [replace(i, scores={"rougeL": olds + n / 9999}) for n, i in enumerate(old)]
        return gate.decide(candidate + safe, baseline + safe, [], 0, policy)[0]

    assert decided(*wins, 0.8, 0.2) == "promote"
    assert decided(*wins, 0.2, 0.8) == "reject"
    assert decided(wins[1], wins[1], 0.8, 0.2) == "inconclusive"
    plain = gate.decide(wins[0] + safe, wins[1] + safe, [], 0, policy)
    assert (plain[0], plain[1][-1].name) == ("inconclusive", "secondary:rougeL")


@pytest.mark.parametrize(
    "text",
    [
        "metrics = []\nalpha = 0.05",
        'metrics = ["charm"]\nalpha = 0.05',
        'metrics = ["f1", "f1"]\nalpha = 0.05',
        'metrics = ["f1"]',
    ],
)
def test_a_policy_that_names_no_known_metric_once_is_refused(tmp_path: Path, text: str) -> None:
    shipped = Path(gate.__file__).with_name("policy.toml").read_text("utf-8")
    path = tmp_path / "policy.toml"
    path.write_text(f"{shipped}\n[secondary]\n{text}\n", "utf-8")
    with pytest.raises(ConfigError, match="secondary"):
        read_policy(path)


def test_a_policy_without_it_keeps_its_hash() -> None:
    assert SHIPPED.secondary is None
    assert "secondary" not in SHIPPED.model_dump(exclude_none=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_it_never_fails_and_an_event_can_hold_it(pairs: list[tuple[float, float]]) -> None:
    new, old = scored([a for a, _ in pairs]), scored([b for _, b in pairs])
    for check in secondary(new, old, one("rougeL")):
        check.model_validate_json(check.model_dump_json())
