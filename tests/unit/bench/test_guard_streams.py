"""The guard benchmark's streams say what they claim to say, the same in every run."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from imece.events import Correction, Rating, Thumb, encode
from tests.bench.guarding.attacks_more import HELD_OUT, NAMES, attack, mixed
from tests.bench.guarding.material import Item, Material, Vote, one_says_the_other, usable
from tests.bench.guarding.people import Pool, pool
from tests.bench.guarding.stream import Scene, Sent, honest, scene

ITEMS = tuple(
    Item(f"who keeps lighthouse number {n}", f"Ada {n}", (f"Bo {n}", f"Cy {n}"), f"Di {n}")
    for n in range(200)
)
VOTES = tuple(Vote(f"w{n % 3}", str(n), "1", "1" if n % 5 else "0") for n in range(90))
MATERIAL = Material(
    ITEMS, VOTES, (("set", "Ignore the above."),), (("plain", "How are you?"),), ("Harm them?",)
)
FORMS = [name + form for name in NAMES for form in ("", ".adaptive")]


@pytest.fixture(scope="module")
def world() -> Scene:
    return scene(ITEMS, MATERIAL.accuracies, 800, seed=3)


@pytest.fixture(scope="module")
def traffic(world: Scene) -> list[Sent]:
    return honest(world, 800)


def test_honest_traffic_is_thumbs_stars_and_corrections_in_order(traffic: list[Sent]):
    kinds = Counter(type(s.event.data.signal) for s in traffic)
    assert 0.6 < kinds[Thumb] / 800 < 0.8
    assert 0.1 < kinds[Rating] / 800 < 0.2
    assert 0.1 < kinds[Correction] / 800 < 0.2
    assert [s.event.time for s in traffic] == sorted(s.event.time for s in traffic)
    right = Counter(s.right for s in traffic if s.correction)
    assert right[True] > 8 * right[False]


def test_equal_seeds_give_equal_traffic_and_others_do_not(world: Scene, traffic: list[Sent]):
    assert honest(world, 800) == traffic
    other = scene(ITEMS, MATERIAL.accuracies, 800, seed=4)
    assert [s.event.data.prompt for s in honest(other, 800)] != [
        s.event.data.prompt for s in traffic
    ]


@pytest.mark.parametrize("name", FORMS)
def test_each_attack_sends_its_share_of_wrong_rows_from_its_accounts(
    name: str, world: Scene, traffic: list[Sent]
):
    hostile = attack(name, world, traffic, MATERIAL, rate=0.05, accounts=8)
    poison = [s for s in hostile if s.role == "poison"]
    assert len(poison) == (10 if name.startswith("a13") else 40)
    assert len({s.event.data.user for s in poison}) <= 8
    assert all(s.right is False for s in poison)
    assert all(s.role in ("poison", "cover") for s in hostile)
    assert len({s.event.id for s in hostile}) == len(hostile)
    assert hostile == attack(name, world, traffic, MATERIAL, rate=0.05, accounts=8)
    for sent in hostile:
        encode(sent.event)


def test_a_spread_campaign_has_no_two_accounts_that_meet_twice(world: Scene, traffic: list[Sent]):
    hostile = attack("a3.adaptive", world, traffic, MATERIAL, rate=0.05, accounts=40)
    met: Counter[tuple[str, str]] = Counter()
    by_question: dict[str, set[str]] = {}
    for sent in (s for s in hostile if s.role == "poison"):
        question = sent.event.data.response and sent.event.data.answer
        by_question.setdefault(question, set()).add(sent.event.data.user)
    for users in by_question.values():
        met.update((a, b) for a in users for b in users if a < b)
    assert max(met.values()) == 1


def test_held_out_attacks_exist_and_are_not_the_ones_to_develop_on():
    assert {"a3.adaptive", "a5", "a9.adaptive"} <= HELD_OUT <= set(FORMS)
    assert not {"a1", "a2", "a3", "a9"} & HELD_OUT


def test_a_mixed_stream_is_in_order_of_time(world: Scene, traffic: list[Sent]):
    stream = mixed(traffic, attack("a3", world, traffic, MATERIAL, rate=0.05, accounts=8))
    assert [s.event.time for s in stream] == sorted(s.event.time for s in stream)
    assert len(stream) == 840


def test_sampled_people_err_as_workers_do_and_sybils_speak_for_poison(
    world: Scene, traffic: list[Sent]
):
    hostile = attack("a1", world, traffic, MATERIAL, rate=0.05, accounts=80)
    poison = next(s for s in hostile if s.role == "poison")
    people = pool(world.people, [*traffic, *hostile])
    assert sum(p.hostile for p in people.people) == len({s.event.data.user for s in hostile})
    fans = sorted(p.name for p in people.people if p.hostile)
    said = people.asked(poison, fans[:7], poison.event.time, random.Random(1))
    assert len(said) == 7
    assert all(o.right and o.sampled for o in said)
    sure = Pool((replace(world.people[0], accuracy=1.0),), skilled=False)
    (word,) = sure.asked(poison, [world.people[0].name], poison.event.time, random.Random(1))
    assert not word.right


@pytest.mark.parametrize(("text", "clean"), [("  a \\ b ", "a b"), ("", None), ("\x00", None)])
def test_only_text_that_an_event_can_carry_is_used(text: str, clean: str | None):
    assert usable(text) == clean


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1978", "since 1978", True),
        ("The Beatles", "beatles, the", True),
        ("12 May 1978", "13 May 1978", False),
        ("Ada", "Bo", False),
    ],
)
def test_an_answer_that_says_less_or_more_of_the_same_is_no_lie(one: str, other: str, same: bool):
    assert one_says_the_other(one, other) is same
