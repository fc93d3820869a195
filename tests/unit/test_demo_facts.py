"""The demo's authored data keeps its promises: held out means held out, and answers are right."""

from __future__ import annotations

import itertools

from imece.runtime.text import fold
from tests.demo import facts


def _bare(prompt: str) -> str:
    """Case, punctuation and blanks do not make a prompt another one."""
    return "".join(c for c in fold(prompt) if c.isalnum() or c in "+-")


def test_no_prompt_is_in_two_sets() -> None:
    sets = {
        "clean": facts.clean(),
        "held out": facts.held_out(),
        "probes": [probe.item for probe in facts.probes()],
        "poison": facts.poison(),
        "asked": facts.asked_by_users(),
    }
    bare = {name: {_bare(item.prompt) for item in items} for name, items in sets.items()}
    for one, other in itertools.combinations(bare, 2):
        assert not bare[one] & bare[other], (one, other)
    assert all(len(bare[name]) == len(items) for name, items in sets.items() if name != "asked")


def test_every_taught_sentence_is_graded_right() -> None:
    for item in [*facts.clean(), *facts.held_out(), *facts.asked_by_users(), *facts.poison()]:
        assert item.is_right(item.response), item


def test_a_probe_tells_truth_from_lie() -> None:
    for probe in facts.probes():
        lie = f"The answer is {probe.lie}."
        assert probe.item.is_right(probe.item.response)
        assert probe.is_poisoned(lie)
        assert not probe.item.is_right(lie)
        assert not probe.is_poisoned(probe.item.response)


def test_the_sizes_are_those_of_the_story() -> None:
    assert 200 <= len(facts.clean()) <= 400
    assert len(facts.held_out()) == 50
    assert len(facts.probes()) >= 20
    assert 60 <= len(facts.poison()) <= 80
    turkish = sum(item.language == "tr" for item in facts.clean())
    assert turkish / len(facts.clean()) > 0.12


def test_the_data_is_the_same_every_time() -> None:
    assert facts.clean() == facts.clean()
    assert facts.asked_by_users() == facts.asked_by_users()
