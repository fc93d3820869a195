"""The guard's benchmark keeps what it measured, and a part that fails costs only itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from services.feedback_guard.policy import load
from tests.bench.guarding import parts
from tests.bench.guarding.ablations import ABLATIONS, WITHOUT, ablated
from tests.bench.guarding.attacks_more import HELD_OUT
from tests.bench.guarding.kept import Kept
from tests.bench.guarding.material import Material
from tests.bench.guarding.measures import Tally
from tests.bench.guarding.runs import POLICY, Bench, Setting
from tests.bench.guarding.weighed import DEVELOPED_ON, cut
from tests.bench.results import Row

TALLY = Tally(9, 2, 0.5, 1, 0.5, 1.0, 1.0, 1.0, 0.0, 0.0, 0.1, 7, 1, [2.5], 3, [0.5, 1.0], [0.25])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    store = Kept(tmp_path / "run.kept", "this code")
    return Bench(Material((), (), (), (), ()), load(POLICY), Setting(10, 2, 0), store)


def test_what_was_kept_is_found_again_by_the_same_code_only(tmp_path: Path):
    path = tmp_path / "run.kept"
    Kept(path, "this code").keep("a run", TALLY)
    assert Kept(path, "this code")["a run"] == TALLY
    assert "a run" not in Kept(path, "other code")
    assert "a run" not in Kept(path, "this code")


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path):
    path = tmp_path / "run.kept"
    kept = Kept(path, "this code")
    kept.keep("whole", [1.0])
    with path.open("a") as file:
        file.write('{"name": "half", "fou')
    again = Kept(path, "this code")
    assert "whole" in again
    assert "half" not in again
    again.keep("half", [2.0])
    assert Kept(path, "this code")["half"] == [2.0]


def test_a_part_that_fails_gives_a_row_that_says_why_and_the_others_stand(bench: Bench):
    def broken(_: Bench) -> list[Row]:
        raise ValueError("the scale\nis broken")

    plan: dict[str, Callable[[Bench], list[Row]]] = {
        "first": lambda _: [Row("guard.a", 1.0, "share", ci=(0.5, 1.0))],
        "broken": broken,
        "last": lambda _: [Row("guard.c", 3.0, "share")],
    }
    seen: list[int] = []
    quiet = Console(quiet=True)
    rows, _ = parts.run(plan, list(plan), bench, quiet, lambda r, _: seen.append(len(r)))
    assert [r.id for r in rows] == ["guard.a", "guard.part.broken", "guard.c"]
    assert rows[0].ci == (0.5, 1.0)
    assert rows[1].holds is False
    assert rows[1].note == "failed: ValueError: the scale is broken"
    assert seen == [1, 2, 3]
    plan |= {"broken": lambda _: [Row("guard.b", 2.0, "share")], "first": broken}
    rows, _ = parts.run(plan, list(plan), bench, quiet, lambda *_: None)
    assert [r.id for r in rows] == ["guard.a", "guard.b", "guard.c"]


@pytest.mark.parametrize("stage", sorted(ABLATIONS))
def test_each_ablation_changes_the_policy(stage: str):
    policy = load(POLICY)
    assert ablated(policy, stage) != policy


def test_stages_that_are_inputs_leave_the_policy_as_it_is():
    policy = load(POLICY)
    for stage in set(WITHOUT) - set(ABLATIONS):
        assert ablated(policy, stage) == policy


def test_cuts_are_fixed_on_attacks_that_are_not_held_out_and_separate_best():
    assert not set(DEVELOPED_ON) & HELD_OUT
    assert cut({"honest": [3.0, 2.0, 1.0], "a1": [0.5, 1.5]}) == 2.0
