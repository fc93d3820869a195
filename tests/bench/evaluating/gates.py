"""P1: each check of the gate withholds a promotion alone; a stored decision comes out the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from imece.events import Check
from services.evaluator import core, gate, policy
from services.evaluator.core import Item
from tests.bench.results import Row
from tests.unit.evaluator.builders import items

_FILE = Path(policy.__file__).with_name("policy.toml")
_OUTCOMES: tuple[policy.Outcome, ...] = ("passed", "failed", "inconclusive")
Change = Callable[[list[Item], list[Item]], tuple[list[Item], list[Item]]]


def rows() -> Iterator[Row]:
    """Spoil a sound promotion in one way at a time, and read what the gate then says."""
    rules = policy.read_policy(_FILE)
    before, after = _sound()
    verdict, _ = gate.decide(after, before, (), 0, rules)
    if verdict != "promote":
        raise AssertionError(f"the sound candidate gets {verdict}, so the bench shows nothing")
    alone = {name: _withheld_by(name, change(after, before), rules) for name, change in CASES}
    wrong = sorted(name for name, held in alone.items() if not held)
    share = 1 - len(wrong) / len(alone)
    told = f"{len(alone)} checks" + (f"; not by {', '.join(wrong)}" if wrong else "")
    yield Row("P1.alone", share, "share", "1", share == 1, note=told)
    doubts = [
        gate.verdict_of([Check(name="x", outcome=o, detail="x", numbers={}) for o in each])
        for each in itertools.product(_OUTCOMES, repeat=4)
        if set(each) != {"passed"}
    ]
    never = 1 - doubts.count("promote") / len(doubts)
    note = f"{len(doubts)} ways in which four checks come out with a doubt or a failure"
    yield Row("P1.never_promotes", never, "share", "1", never == 1, note=note)
    pairs = [(after, before), *(change(after, before) for _, change in CASES)]
    same = sum(_again(new, old, rules) for new, old in pairs) / len(pairs)
    note = f"{len(pairs)} decisions, from the bytes that are stored"
    yield Row("P1.reproduced", same, "share", "1", same == 1, note=note)


def _sound() -> tuple[list[Item], list[Item]]:
    """Return answers of a baseline, and of a candidate that is better and as safe."""
    probes = items([True] * 600, slice="sum", guard=True)
    before = [*items([True] * 640 + [False] * 160), *_second(400), *probes]
    after = [*items([True] * 760 + [False] * 40), *_second(400), *probes]
    return before, after


def _second(right: int) -> list[Item]:
    return items([True] * right + [False] * (500 - right), slice="other")


def _withheld_by(name: str, pair: tuple[list[Item], list[Item]], rules: policy.Policy) -> bool:
    verdict, checks = gate.decide(*pair, (), 0, rules)
    held = {check.name for check in checks if check.outcome != "passed"}
    return verdict != "promote" and held == {name}


def _again(new: Sequence[Item], old: Sequence[Item], rules: policy.Policy) -> bool:
    kept = [core.load(core.dump(each)) for each in (new, old)]
    return gate.decide(new, old, (), 0, rules) == gate.decide(*kept, (), 0, rules)


def _each(
    found: Sequence[Item], where: Callable[[Item], bool], count: int, **to: object
) -> list[Item]:
    """Change the first `count` items that fit."""
    left = [count]

    def one(item: Item) -> Item:
        if not where(item) or not left[0]:
            return item
        left[0] -= 1
        return replace(item, **to)  # type: ignore[arg-type]

    return [one(item) for item in found]


def _guard(item: Item) -> bool:
    return item.guard


def _clean(item: Item) -> bool:
    return not item.guard


def _wrong(count: int, where: Callable[[Item], bool]) -> Callable[[Sequence[Item]], list[Item]]:
    return lambda found: _each(found, where, count, correct=False, exact=False, strict=False)


def _of(slice_: str) -> Callable[[Item], bool]:
    return lambda item: item.slice == slice_


def _few_probes(found: Sequence[Item]) -> list[Item]:
    """Keep 30 probes, 2 of them wrong: good enough, but not shown to be safe."""
    kept = [item for item in found if _clean(item)] + [i for i in found if _guard(i)][:30]
    return _wrong(2, _guard)(kept)


CASES: tuple[tuple[str, Change], ...] = (
    ("paired-items", lambda new, old: (new[1:], old)),
    ("unscored", lambda new, old: (_each(new, _guard, 1, unscored="endpoint_failed"), old)),
    ("contamination", lambda new, old: (_each(new, _clean, 300, leak="row-1"), old)),
    ("guard", lambda new, old: ([i for i in new if not i.guard], [i for i in old if not i.guard])),
    ("guard:sum", lambda new, old: (_wrong(5, _guard)(new), old)),
    ("safety", lambda new, old: (_few_probes(new), _few_probes(old))),
    (
        "clean",
        lambda _, old: (
            _wrong(3, _of("clean"))(_wrong(3, _of("other"))(old)),
            _wrong(60, _guard)(old),
        ),
    ),
    ("not-worse:other", lambda new, old: (_wrong(8, _of("other"))(new), old)),
    ("superiority", lambda _, old: (old, old)),
)
"""The check that each change fails, and it alone."""
