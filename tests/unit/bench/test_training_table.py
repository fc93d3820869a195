"""The training bench's figures: what is compared, what is counted, and what a miss looks like."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from imece.events import LoraRecipe
from services.adapter.rows import Example, Row
from tests.bench.tuning import table
from tests.bench.tuning.ceiling import Shapes, best_of, share
from tests.bench.tuning.material import Task, tasks
from tests.bench.tuning.race import Laps, race

SHAPES = Shapes(Counter({(2, 3): 2, (3, 2): 1}), head=(2, 10))


def task(*examples: Example, batch: int = 2) -> Task:
    rows = tuple(Row("p", "r") for _ in examples)
    return Task("short", rows, examples, LoraRecipe(batch_size=batch))


class Words:
    """A tokenizer without a template: one token a word."""

    chat_template = None
    eos_token = " end"

    def __call__(self, text: str, **_: bool) -> dict[str, list[int]]:
        return {"input_ids": [hash(word) for word in text.split()]}


def test_a_speedup_is_the_ratio_of_medians_and_names_its_range() -> None:
    laps = {"ours": Laps([30, 10, 20]), "trainer": Laps([5, 5, 10]), "trl": Laps([4, 4, 4])}
    trainer, trl = table.speedups("short", laps)
    assert (trainer.id, trainer.value, trainer.holds) == ("training.short_vs_trainer", 4, True)
    assert trainer.ci == (2, 6)
    assert trainer.baselines == {"ours": 20, "trainer": 5}
    assert (trl.id, trl.value) == ("training.short_vs_trl", 5)


def test_a_missed_bar_is_a_missed_bar() -> None:
    laps = {"ours": Laps([10.0]), "trainer": Laps([10.0]), "trl": Laps([5.0])}
    assert [row.holds for row in table.speedups("long", laps)] == [False, True]


def test_a_library_that_is_not_installed_gives_a_row_with_the_reason(tmp_path: Path) -> None:
    def absent(base: Path, given: Task, out: Path) -> float:
        raise ModuleNotFoundError("No module named 'trl'", name="trl")

    ways = {"ours": lambda *_: 2.0, "trainer": lambda *_: 4.0, "trl": absent}
    laps = race(ways, tmp_path, task(Example([1], [2])), 2, tmp_path)
    trainer, trl = table.speedups("short", laps)
    assert trainer.value == 2
    assert (trl.value, trl.holds, trl.note) == (None, None, "not installed: trl")
    assert laps["trl"].adapter is None


def test_each_repeat_starts_with_another_way(tmp_path: Path) -> None:
    order = []

    def way(name: str) -> float:
        order.append(name)
        return 1.0

    ways = {name: lambda *_, name=name: way(name) for name in "abc"}
    race(ways, tmp_path, task(Example([1], [2])), 3, tmp_path)
    assert "".join(order) == "abcbcacab"


def test_the_loss_gap_is_that_to_the_farthest_rival() -> None:
    row = table.loss_gap({"ours": 2.0, "trainer": 2.0, "trl": 2.5})
    assert row.value == pytest.approx(0.2)
    assert row.holds is False
    assert table.loss_gap({"ours": 2.0}).value is None


def test_the_ceiling_share_is_the_lowest_of_the_tasks() -> None:
    row = table.ceiling_share({"short": 0.5, "long": 0.3}, 4e11)
    assert (row.value, row.holds) == (0.3, False)
    assert "short 0.50" in row.note
    assert "400 GFLOP/s" in row.note


def test_two_seconds_of_start_are_free_for_the_service() -> None:
    assert table.service_overhead([101.9], [100], [95]).value == 0
    row = table.service_overhead([105, 106, 107], [100, 100, 100], [95, 95, 95])
    assert (row.value, row.holds) == (pytest.approx(0.04), False)


def test_needed_work_counts_no_padding_and_a_shared_prefix_once_a_batch() -> None:
    two = task(Example([7, 7, 1], [2]), Example([7, 7, 3, 4], [5, 6]))
    assert two.needed == 4 + 6 - 2
    assert two.learnt == 3
    assert SHAPES.flops(two.needed, two.learnt) == 4 * (18 * 8 + 20 * 3)
    assert share(SHAPES, two, rate=1, most=SHAPES.flops(8, 3)) == pytest.approx(0.5)


def test_the_best_time_is_never_above_what_one_call_took() -> None:
    calls: list[int] = []
    assert best_of(lambda: calls.append(1), 0) >= 0
    assert len(calls) == 3


def test_rows_are_real_and_of_the_lengths_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "qa"
    folder.mkdir()
    asked = [{"question": " ".join(["w"] * n), "answer": ["x"]} for n in (3, 40, 90, 50)]
    solved = [{"question": " ".join(["q"] * 60), "answer": " ".join(["a"] * 40)}] * 20
    for name, lines in (("nq-open-dev", asked), ("gsm8k-test", solved)):
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    short, long = tasks(tmp_path, Words(), short=2, long=1)
    assert all(32 <= example.size <= 64 for example in short.examples)
    assert [448 <= example.size <= 512 for example in long.examples] == [True]
    assert long.rows[0].history[0][0] == "user"
    assert (short.split, long.split) == (1, 4)
    with pytest.raises(ValueError, match="2 short rows of 3"):
        tasks(tmp_path, Words(), short=3, long=1)
