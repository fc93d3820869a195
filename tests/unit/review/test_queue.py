"""Asking, answering, skipping, undoing: what the tables do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imece.chain import first_fault
from imece.errors import RejectedError
from services.review import people, reports, shares, store
from services.review.people import Reviewer
from services.review.policy import Checks, Sampling
from tests.unit.review.world import World, asked, made


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    found = made(tmp_path)
    yield found
    log = found.log()
    assert first_fault(log) is None


@pytest.fixture
def trio(world: World) -> tuple[Reviewer, Reviewer, Reviewer]:
    names = ("ayşe", "can", "deniz")
    return tuple(world.reviewer(name) for name in names)  # type: ignore[return-value]


def test_an_item_gets_as_many_answers_as_it_needs_and_no_more(world, trio):
    world.ask(asked("1"))
    tasks = [world.next(each) for each in trio]
    assert [task is not None for task in tasks] == [True, True, False]
    for who, task in zip(trio[:2], tasks, strict=False):
        world.answer(who, task, "second")
    assert world.state("1") == ("agreed", 1)
    assert world.next(trio[2]) is None


def test_a_redelivered_request_changes_nothing(world, trio):
    world.ask(asked("1"), asked("1"))
    world.ask(asked("1", prompt="another text"))
    assert world.next(trio[0]).prompt == "question 1"
    assert len([each for each in world.log() if each.kind == "requested"]) == 1


def test_the_same_reviewer_is_asked_once_and_sees_it_until_it_is_answered(world, trio):
    world.ask(asked("1"))
    first = world.next(trio[0])
    assert world.next(trio[0]) == first
    world.answer(trio[0], first, "first")
    assert world.next(trio[0]) is None


def test_the_choice_that_is_kept_does_not_depend_on_the_order_shown(world, trio):
    world.ask(*(asked(str(n)) for n in range(20)))
    orders = set()
    for _ in range(20):
        task = world.next(trio[0])
        orders.add(task.options)
        world.answer(trio[0], task, "second")
    world.now += 60
    assert {each.choice for each in world.final()} == {1}
    assert len(orders) == 2


def test_a_lease_that_ran_out_goes_to_somebody_else(world, trio):
    world.policy = replace_answers(world, 1)
    world.ask(asked("1"))
    late = world.next(trio[0])
    world.now += 59
    assert world.next(trio[1]) is None
    world.now += 2
    world.answer(trio[1], world.next(trio[1]), "first")
    with pytest.raises(RejectedError) as lost:
        world.answer(trio[0], late, "second")
    assert lost.value.reason == "lease_lost"
    assert world.state("1") == ("agreed", 0)


def replace_answers(world: World, answers: int):
    return world.policy.model_copy(update={"answers": answers})


def test_an_answer_after_its_time_counts_while_nobody_else_took_the_question(world, trio):
    world.ask(asked("1"))
    task = world.next(trio[0])
    world.now += 600
    world.answer(trio[0], task, "first")
    assert world.state("1") == ("open", None)


def test_sending_an_answer_twice_keeps_one(world, trio):
    world.ask(asked("1"))
    task = world.next(trio[0])
    world.answer(trio[0], task, "first")
    world.answer(trio[0], task, "second")
    world.now += 60
    assert [each.choice for each in world.final()] == [0]


def test_nobody_can_answer_for_somebody_else(world, trio):
    world.ask(asked("1"))
    task = world.next(trio[0])
    with pytest.raises(RejectedError):
        world.answer(trio[1], task, "first")


def test_a_disagreement_goes_to_an_adjudicator_who_has_not_answered(world, trio):
    judges = [world.reviewer(name, adjudicator=True) for name in ("ece", "fatma")]
    world.ask(asked("1"))
    world.answer(trio[0], world.next(trio[0]), "first")
    world.answer(judges[0], world.next(judges[0]), "second")
    assert world.state("1") == ("conflict", None)
    assert world.next(judges[0]) is None
    assert world.next(trio[1]) is None
    world.answer(judges[1], world.next(judges[1]), "second")
    assert world.state("1") == ("adjudicated", 1)
    world.now += 60
    told = [(each.reviewer, each.choice, each.adjudicated) for each in world.final()]
    assert told == [("ayşe", 0, False), ("ece", 1, False), ("fatma", 1, True)]


def test_a_skipped_item_is_not_offered_again_to_who_skipped_it(world, trio):
    world.ask(asked("1"))
    world.skip(trio[0], world.next(trio[0]), "expertise")
    assert world.next(trio[0]) is None
    assert world.why(trio[0]).reason == "yours"
    assert world.next(trio[1]) is not None
    world.now += 60
    (told,) = world.final()
    assert (told.choice, told.reason) == (None, "expertise")


def test_what_everybody_skips_is_adjudicated(world, trio):
    judge = world.reviewer("ece", adjudicator=True)
    world.ask(asked("1"))
    for each in trio:
        world.skip(each, world.next(each))
    assert world.state("1") == ("conflict", None)
    world.answer(judge, world.next(judge), "first")
    assert world.state("1") == ("adjudicated", 0)


def test_an_unknown_reason_is_refused(world, trio):
    world.ask(asked("1"))
    with pytest.raises(RejectedError) as refused:
        world.skip(trio[0], world.next(trio[0]), "because")
    assert refused.value.reason == "no_such_reason"


def test_an_answer_can_be_taken_back_and_given_anew(world, trio):
    world.ask(asked("1"), asked("2"))
    task = world.next(trio[0])
    world.answer(trio[0], task, "first")
    assert world.next(trio[0]).item == "2"
    world.undo(trio[0])
    again = world.next(trio[0])
    assert again.item == "1"
    world.answer(trio[0], again, "second")
    world.now += 60
    assert [each.choice for each in world.final()] == [1]
    # The question that had been shown meanwhile is free for others.
    assert world.next(trio[1]) is not None
    assert [each.kind for each in world.log()].count("undone") == 1


def test_undoing_an_answer_opens_what_it_settled(world, trio):
    judge = world.reviewer("ece", adjudicator=True)
    world.ask(asked("1"))
    world.answer(trio[0], world.next(trio[0]), "first")
    world.answer(trio[1], world.next(trio[1]), "second")
    assert world.next(judge) is not None
    world.undo(trio[1])
    assert world.state("1") == ("open", None)
    world.answer(trio[1], world.next(trio[1]), "first")
    assert world.state("1") == ("agreed", 0)
    assert world.next(judge) is None


def test_a_skip_can_be_taken_back(world, trio):
    world.ask(asked("1"))
    world.skip(trio[0], world.next(trio[0]))
    world.undo(trio[0])
    assert world.next(trio[0]).item == "1"


def test_what_is_final_or_adjudicated_cannot_be_taken_back(world, trio):
    judge = world.reviewer("ece", adjudicator=True)
    world.ask(asked("1"), asked("2"))
    world.answer(trio[0], world.next(trio[0]), "first")
    world.now += 31
    with pytest.raises(RejectedError) as late:
        world.undo(trio[0])
    assert late.value.reason == "too_late"
    world.answer(trio[1], world.next(trio[1]), "second")
    world.answer(judge, world.next(judge), "first")
    with pytest.raises(RejectedError, match="adjudicator"):
        world.undo(trio[1])
    with pytest.raises(RejectedError) as none:
        world.undo(trio[2])
    assert none.value.reason == "nothing_to_undo"


def test_an_answer_is_announced_once_and_only_when_it_is_final(world, trio):
    world.ask(asked("1", slice="facts"))
    world.answer(trio[0], world.next(trio[0]), "second")
    assert world.final() == []
    world.now += 31
    (told,) = world.final()
    assert (told.item, told.reviewer, told.choice, told.slice) == ("1", "ayşe", 1, "facts")
    assert world.final() == []


def test_the_pressing_comes_first(world, trio):
    world.policy = world.policy.model_copy(update={"sampling": Sampling(low=1)})
    world.ask(asked("1", criticality="low"), asked("2", criticality="safety"), asked("3"))
    found = []
    for _ in range(3):
        task = world.next(trio[0])
        found.append(task.item)
        world.answer(trio[0], task, "first")
    assert found == ["2", "3", "1"]


def test_what_is_not_asked_is_counted_with_its_probability_and_without_its_text(world, trio):
    world.ask(*(asked(str(n), criticality="low") for n in range(500)))
    (share,) = world.database.transact(shares.shares)
    assert share["items"] == 500
    task = world.next(trio[0])
    assert task is not None
    states = [world.state(str(n))[0] for n in range(500)]
    assert 1 <= states.count("open") <= 30
    world.answer(trio[0], task, "first")
    world.now += 60
    assert [each.inclusion for each in world.final()] == [0.02]


def test_gold_is_hidden_once_for_each_and_never_announced(world, trio):
    world.policy = world.policy.model_copy(update={"checks": Checks(gold=0.5, repeat=0)})
    gold = world.database.transact(store.add_gold, "2+2?", ("4", "5"), 0, world.now)
    world.ask(*(asked(str(n)) for n in range(20)))
    seen = []
    while task := world.next(trio[0]):
        seen.append(task.item)
        world.answer(trio[0], task, "5" if task.item == gold else "first")
    assert seen.count(gold) == 1
    world.now += 60
    assert len(world.final()) == 20
    (mine, *_) = world.database.transact(reports.reliabilities)
    assert (mine["reviewer"], mine["gold"], mine["answers"]) == ("ayşe", 0, 21)


def test_questions_are_repeated_to_see_whether_the_answer_stays(world, trio):
    checks = Checks(gold=0, repeat=0.5, repeat_after=2)
    world.policy = world.policy.model_copy(update={"checks": checks})
    world.ask(*(asked(str(n)) for n in range(20)))
    seen = []
    while task := world.next(trio[0]):
        option = "second" if task.item in seen else "first"
        seen.append(task.item)
        world.answer(trio[0], task, option)
    assert len(set(seen)) == 20 < len(seen)
    world.now += 60
    assert {each.choice for each in world.final()} == {0}
    (mine, *_) = world.database.transact(reports.reliabilities)
    assert mine["consistency"] == 0


def test_a_skipped_check_is_gone(world, trio):
    world.policy = world.policy.model_copy(update={"checks": Checks(gold=0.5, repeat=0)})
    gold = world.database.transact(store.add_gold, "2+2?", ("4", "5"), 0, world.now)
    world.ask(*(asked(str(n)) for n in range(20)))
    while (task := world.next(trio[0])) and task.item != gold:
        world.answer(trio[0], task, "first")
    assert task is not None
    world.skip(trio[0], task)
    world.now += 60
    while task := world.next(trio[0]):
        assert task.item != gold
        world.answer(trio[0], task, "first")
    assert all(each.item != gold for each in world.final())


def test_an_empty_queue_says_why(world, trio):
    assert world.why(trio[0]).reason == "nothing"
    world.policy = replace_answers(world, 1)
    world.ask(asked("1"))
    task = world.next(trio[0])
    waiting = world.why(trio[1])
    assert (waiting.reason, waiting.seconds) == ("leased", 60)
    world.answer(trio[0], task, "first")
    assert world.why(trio[1]).reason == "nothing"


def test_progress_counts_what_is_mine_and_what_is_left_for_me(world, trio):
    world.ask(asked("1"), asked("2"))
    world.answer(trio[0], world.next(trio[0]), "first")
    since = world.now - 30
    found = world.database.transact(reports.progress, trio[0], since)
    assert (found.mine, found.left, found.undoable) == (1, 1, True)
    later = world.database.transact(reports.progress, trio[0], since + 60)
    assert later.undoable is False


def test_the_list_says_what_an_item_waits_for(world, trio):
    world.ask(asked("1"), asked("2"))
    for who, option in zip(trio, ("first", "second"), strict=False):
        world.answer(who, world.next(who), option)
    rows = {row["item"]: row for row in world.database.transact(reports.items, world.now, limit=10)}
    assert rows["1"]["waits for"] == "an adjudicator who has not answered it"
    assert rows["2"]["answers"] == "0/2"


def test_a_session_ends_with_its_reviewer_and_with_time(world):
    token = world.database.transact(people.add, "ayşe", False, world.now)
    assert world.database.transact(people.sign_in, "guess", world.now) is None
    session = world.database.transact(people.sign_in, token, world.now)
    assert world.database.transact(people.who, session, world.now).name == "ayşe"
    later = world.now + people.SESSION_SECONDS + 1
    assert world.database.transact(people.who, session, later) is None
    world.database.transact(people.remove, "ayşe", world.now)
    assert world.database.transact(people.who, session, world.now) is None
    assert world.database.transact(people.sign_in, token, world.now) is None
    with pytest.raises(RejectedError):
        world.database.transact(people.remove, "ayşe", world.now)
    again = world.database.transact(people.add, "ayşe", True, world.now)
    assert again != token


def test_a_name_is_given_once(world, trio):
    with pytest.raises(RejectedError, match="already"):
        world.reviewer("ayşe")


def test_no_token_is_kept_only_its_hash(world, tmp_path):
    token = world.database.transact(people.add, "ayşe", False, world.now)
    session = world.database.transact(people.sign_in, token, world.now)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("review.db*"))
    assert people.hashed(token).encode() in kept
    assert token.encode() not in kept
    assert session.encode() not in kept


def test_the_log_tells_the_whole_story(world, trio):
    world.ask(asked("1"))
    world.answer(trio[0], world.next(trio[0]), "first")
    kinds = [each.kind for each in world.log()]
    assert kinds == ["reviewer-added"] * 3 + ["requested", "leased", "answered"]
    assert world.log()[-1].body["choice"] == 0


LEVELS = ("1", "2", "3", "4", "5")


def rating(item: str, **changes):
    return asked(item, answer="Ankara.", criterion="Is it true?", options=LEVELS, **changes)


def test_levels_keep_their_order_and_neighbours_agree_on_the_lower_one(world, trio):
    world.ask(rating("r"))
    for who, level in zip(trio[:2], ("4", "5"), strict=True):
        task = world.next(who)
        assert (task.options, task.answer, task.criterion) == (LEVELS, "Ankara.", "Is it true?")
        world.answer(who, task, level)
    assert world.state("r") == ("agreed", 3)


def test_levels_that_are_far_apart_go_to_an_adjudicator(world, trio):
    world.ask(rating("r"))
    for who, level in zip(trio[:2], ("2", "4"), strict=True):
        world.answer(who, world.next(who), level)
    assert world.state("r") == ("conflict", None)
    judge = world.reviewer("ece", adjudicator=True)
    world.answer(judge, world.next(judge), "3")
    assert world.state("r") == ("adjudicated", 2)


def test_the_mean_level_is_told_for_each_criterion(world, trio):
    world.ask(rating("r1"), rating("r2"), asked("pair"))
    wanted = {("ayşe", "r1"): "4", ("ayşe", "r2"): "5", ("can", "r1"): "5", ("can", "r2"): "5"}
    for who in trio[:2]:
        while task := world.next(who):
            world.answer(who, task, wanted.get((who.name, task.item), "first"))
    told = {each["criterion"]: each for each in world.database.transact(shares.shares)}
    assert told[""]["share"] == 1
    assert told["Is it true?"]["share"] == 4.75
    assert told["Is it true?"]["of"] == "mean level"


def test_gold_may_be_a_rating(world, trio):
    world.policy = world.policy.model_copy(update={"checks": Checks(gold=0.5, repeat=0)})
    more = {"answer": "5", "criterion": "Is it true?"}
    world.database.transact(store.add_gold, "2+2?", LEVELS, 0, world.now, **more)
    world.ask(*(rating(str(n)) for n in range(6)))
    seen = []
    while task := world.next(trio[0]):
        seen.append((task.prompt, task.answer))
        world.answer(trio[0], task, "2")
    assert ("2+2?", "5") in seen


def test_what_a_judge_expects_speaks_for_items_that_nobody_was_asked(world, trio):
    world.policy = world.policy.model_copy(update={"sampling": Sampling(low=0.1), "answers": 1})
    good = [n % 3 > 0 for n in range(600)]
    given = (
        asked(f"{n:03}", criticality="low", predicted=0.9 if fine else 0.1)
        for n, fine in enumerate(good)
    )
    world.ask(*given)
    while task := world.next(trio[0]):
        world.answer(trio[0], task, "first" if good[int(task.item)] else "second")
    (told,) = world.database.transact(shares.shares)
    assert told["worth"] > 2
    assert abs(told["share"] - 2 / 3) < 0.02
    assert told["low"] < 2 / 3 < told["high"]
