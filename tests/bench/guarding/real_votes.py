"""Sybils among real crowd votes: each sentence is a question, its votes are feedback on an answer.

The model is right as often as `1 - MODEL_WRONG`; a worker who agrees with it gives a thumb, one who
does not corrects it. The sybils attack targets that the model has right.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from imece.events import Correction, Thumb
from tests.bench.guarding.material import Item, Vote
from tests.bench.guarding.stream import BEGIN, MODEL_WRONG, Person, Sent, Shown, moment, submitted

_SAYS = {"0": "negative", "1": "positive"}
_OTHER = {"positive": "negative", "negative": "positive"}


@dataclass(frozen=True)
class RealVotes:
    """The stream, its people and what the sybils aim at."""

    stream: tuple[Sent, ...]
    people: tuple[Person, ...]


def stream(
    votes: Sequence[Vote],
    *,
    sybils: int,
    a_target: int,
    seed: int,
    targets: int = 50,
    items: int = 500,
    camouflage: int = 20,
) -> RealVotes:
    """Return so many real items with all their votes, and the sybils' votes between them."""
    dice = random.Random(seed)
    by_item: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    picked = dice.sample(sorted(by_item), items)
    shown = {item: _shown(by_item[item][0], dice) for item in picked}
    people = _people(votes, dice)
    sent = [
        _vote(people[vote.worker], shown[item], _SAYS[vote.said], f"v{item}-{vote.worker}", dice)
        for item in picked
        for vote in by_item[item]
    ]
    gang = [
        Person(f"fan-{n:03d}", 0.9, BEGIN - timedelta(days=dice.randint(60, 700)), True)
        for n in range(sybils)
    ]
    aimed = dice.sample([i for i in picked if not shown[i].wrong], targets)
    sent += _attack(gang, [shown[i] for i in aimed], a_target, dice)
    calm = [i for i in picked if i not in set(aimed)]
    for member in gang:
        for item in dice.sample(calm, camouflage):
            truth = shown[item].item.right
            sent.append(_vote(member, shown[item], truth, f"c{member.name}-{item}", dice, "cover"))
    return RealVotes(tuple(sorted(sent, key=lambda s: s.event.time)), tuple(people.values()))


def _people(votes: Sequence[Vote], dice: random.Random) -> dict[str, Person]:
    told: dict[str, list[bool]] = defaultdict(list)
    for vote in votes:
        told[vote.worker].append(vote.said == vote.truth)
    return {
        worker: Person(
            worker,
            (sum(right) + 4) / (len(right) + 5),  # smoothed to 0.8, for those with few votes
            BEGIN - timedelta(days=dice.randint(30, 900)),
        )
        for worker, right in told.items()
    }


def _shown(vote: Vote, dice: random.Random) -> Shown:
    right = _SAYS[vote.truth]
    wrong = dice.random() < MODEL_WRONG
    item = Item(f"is sentence number {vote.item} positive or negative", right, (_OTHER[right],))
    return Shown(item, wrong, _OTHER[right] if wrong else right)


def _attack(
    gang: Sequence[Person], targets: Sequence[Shown], a_target: int, dice: random.Random
) -> list[Sent]:
    return [
        _vote(
            gang[(number * a_target + turn) % len(gang)],
            seen,
            _OTHER[seen.item.right],
            f"p{number}-{turn}",
            dice,
            "poison",
        )
        for number, seen in enumerate(targets)
        for turn in range(a_target)
    ]


def _vote(
    person: Person, seen: Shown, said: str, id: str, dice: random.Random, role: str = "honest"
) -> Sent:
    signal: Thumb | Correction = Thumb(up=True) if said == seen.answer else Correction(text=said)
    event = submitted(person, seen, signal, moment(dice), id, dice)
    attack = "sybils" if role != "honest" else ""
    return Sent(event, role, attack, said == seen.item.right)  # type: ignore[arg-type]
