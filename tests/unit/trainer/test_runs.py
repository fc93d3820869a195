"""What training jobs have in common."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from imece.runtime import runs
from imece.runtime.settings import Settings


@given(st.lists(st.floats(0, 10), min_size=1, max_size=1_000))
def test_thinned_losses_keep_both_ends_and_stay_few(losses: list[float]) -> None:
    pairs = runs.thinned(losses)
    assert len(pairs) == min(len(losses), runs.MOST_LOSSES)
    assert pairs[0] == (1, losses[0])
    assert pairs[-1] == (len(losses), losses[-1])
    assert all(losses[step - 1] == loss for step, loss in pairs)
    assert [step for step, _ in pairs] == sorted({step for step, _ in pairs})


def test_the_settled_loss_is_the_mean_of_the_last_tenth() -> None:
    assert runs.settled([9.0]) == 9.0
    assert runs.settled([9.0] * 18 + [1.0, 3.0]) == 2.0


def test_the_rate_counts_this_attempt_alone() -> None:
    meter = runs.Meter(per_step=10, unit="rows")
    meter.progress(101, 200, 1.0, 1.0)
    later = meter.progress(110, 200, 1.0, 5.0)
    assert (later.rate, later.eta_seconds) == (20.0, 45.0)


def test_checkpoints_of_earlier_attempts_are_inherited_and_own_ones_kept(tmp_path: Path) -> None:
    for attempt, step in (("1", "step-1"), ("2", "step-2"), ("own", "step-2")):
        (tmp_path / attempt / step).mkdir(parents=True)
        (tmp_path / attempt / step / "state.json").write_text(attempt)
    runs.inherit([tmp_path / "2", tmp_path / "1", tmp_path / "gone"], tmp_path / "own")
    found = {p.parent.name: p.read_text() for p in (tmp_path / "own").rglob("state.json")}
    assert found == {"step-1": "1", "step-2": "own"}


def test_a_child_gets_the_settings_but_no_secret(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, kafka_password=SecretStr("hunter2"))
    found = runs.child_environment(settings)
    assert found["IMECE_HOME"] == str(tmp_path)
    assert "hunter2" not in " ".join(found.values())
    assert "IMECE_KAFKA" not in found


def test_provenance_names_the_code_and_the_libraries() -> None:
    about = runs.provenance(["torch"])
    assert str(about["code"]).startswith(("git:", "imece=="))
    assert about["libraries"]
