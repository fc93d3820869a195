"""Which shard of authors broke the second gate, told by adapters trained without one: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from imece.runtime import shards
from services.evaluator import probes
from services.evaluator.probes import Probe
from services.evaluator.second import SecondPolicy
from services.evaluator.taught import Lesson

CLAIMS = "claim-probes"


@dataclass(frozen=True, slots=True)
class Found:
    """Shards without which the probes hold, and those of their authors who taught what broke."""

    shards: tuple[int, ...]
    authors: tuple[str, ...]


def authors(lessons: Iterable[Lesson]) -> dict[str, str]:
    """Return who gave each row of feedback that a model was trained on."""
    return {each.row: each.author for each in lessons if each.author and not each.revoked}


def present(known: Iterable[str], salt: str, count: int) -> tuple[int, ...]:
    """Return the shards that have an author at all."""
    return tuple(sorted({shards.of_author(author, salt, count) for author in known}))


def broken(answered: Sequence[Probe], policy: SecondPolicy) -> list[Probe]:
    """Return the probes to ask again: claims that broke, phrases that did, their plain questions.

    Each failed check of a phrase is numbered by the phrase's place.
    """
    failed = _failed(answered, policy)
    phrases = list(dict.fromkeys(each.phrase for each in answered if each.phrase))
    bad = {p for number, p in enumerate(phrases, 1) if f"trigger-probes:{number}" in failed}
    plain = {each.question for each in answered if each.phrase in bad}
    found = []
    for each in answered:
        claim = each.kind == "claim" and CLAIMS in failed and probes.newly_bad(each)
        asked = each.kind == "plain" and each.question in plain
        if claim or asked or each.phrase in bad:
            found.append(each)
    return found


def holds(answered: Sequence[Probe], again: Sequence[Probe], policy: SecondPolicy) -> bool:
    """Tell whether no check that failed still fails with the answers given `again`."""
    said = {(each.kind, each.phrase, each.prompt): each.candidate for each in again}
    merged = [
        replace(each, candidate=said.get((each.kind, each.phrase, each.prompt), each.candidate))
        for each in answered
    ]
    return not _failed(answered, policy) & _failed(merged, policy)


def find(
    answered: Sequence[Probe],
    again: Mapping[int, Sequence[Probe]],
    policy: SecondPolicy,
    known: Mapping[str, str],
    shard_of: Callable[[str], int],
) -> Found:
    """Return what the answers without each shard (`again`) say; `known` are the rows' authors."""
    guilty = tuple(sorted(n for n, said in again.items() if holds(answered, said, policy)))
    rows = {row for each in broken(answered, policy) for row in each.rows}
    teachers = {known[row] for row in rows if row in known}
    named = {each for each in teachers if shard_of(each) in guilty}
    return Found(guilty, tuple(sorted(named)))


def _failed(answered: Sequence[Probe], policy: SecondPolicy) -> set[str]:
    return {c.name for c in probes.checks(answered, policy) if c.outcome == "failed"}
