"""A blind reference model speaks beside the users who are asked, and never decides alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imece.cli.common import as_dict
from imece.errors import ConfigError
from imece.events import (
    Correction,
    Envelope,
    FeedbackDecided,
    FeedbackScored,
    FeedbackSubmitted,
    JudgementCompleted,
    JudgementRequested,
    OpinionGiven,
    Reason,
    Thumb,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.card import data_sets
from imece.runtime.database import Database
from imece.runtime.settings import Settings
from services.feedback_guard import core, reference, whatif
from services.feedback_guard.app import build
from services.feedback_guard.evidence import preference, voice
from services.feedback_guard.policy import Policy
from services.feedback_guard.replay import Guard, item_of
from services.feedback_guard.routes import Routes
from services.feedback_guard.settings import GuardSettings
from services.feedback_guard.state import Claim, Support, account_id, mark
from tests.unit.feedback_guard.policies import FILE, SHIPPED, eager

NOW = datetime(2026, 5, 1, tzinfo=UTC)
JUDGE = "oracle-7b@3"
POLICY = Policy.model_validate(
    {**SHIPPED.model_dump(), "reference": {"judges": [JUDGE], "trained_on": "trusted"}}
)
Side = Literal["a", "b", "tie", "unscored"]


def vote(
    user: str,
    signal: Thumb | Correction,
    answer: str = "Ali Bey.",
    **more: Any,
) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user,
        response=f"r-{user}",
        prompt="Who runs our canteen?",
        answer=answer,
        signal=signal,
        account_created=NOW - timedelta(days=400),
        **more,
    )
    return Envelope(data, f"e-{user}", "test", NOW)


CORRECTION = vote("ayşe", Correction(text="Zeynep Hanım"))


def scored(event: Envelope[FeedbackSubmitted], policy: Policy = POLICY) -> FeedbackScored:
    admitted = core.Admission(None, 1.0)
    return core.score(event, core.Account(), admitted, policy)


def told(
    event: Envelope[FeedbackSubmitted],
    right: str,
    *,
    judge: str = JUDGE,
    orders: tuple[Side, Side] | None = None,
) -> JudgementCompleted:
    """Return the verdict of a model that prefers the answer with these words."""
    asked = reference.question(scored(event), POLICY)
    assert asked is not None
    side: Side = "a" if right in asked.answer_a else "b"
    first, second = orders or (side, side)
    return JudgementCompleted(
        item=asked.item,
        evaluation=asked.evaluation,
        verdict=side if first == second else "tie",
        first_order=first,
        second_order=second,
        judge=judge,
    )


@given(comment=st.text(st.characters(codec="utf-8", categories=["L"]), min_size=12, max_size=50))
def test_the_question_shows_nothing_but_question_and_answers(comment: str):
    event = vote("the-user-id", Correction(text="Zeynep Hanım"), comment=comment, device="phone-77")
    asked = reference.question(scored(event), POLICY)
    assert asked is not None
    shown = asked.model_dump_json()
    assert {asked.answer_a, asked.answer_b} == {"Ali Bey.", "Zeynep Hanım"}
    assert not any(hidden in shown for hidden in (comment, "the-user-id", "phone-77", "unknown"))
    assert asked.reference == ""


def test_a_pair_is_the_same_question_whoever_was_shown_which_answer():
    turned = vote("ali", Correction(text="Ali Bey"), answer="Zeynep Hanım.")
    one, two = (reference.question(scored(e), POLICY) for e in (CORRECTION, turned))
    assert one is not None
    assert two is not None
    assert one.item == two.item


def test_feedback_without_a_second_answer_and_a_models_own_answers_ask_nothing():
    assert reference.question(scored(vote("ali", Thumb(up=False))), POLICY) is None
    assert reference.question(scored(vote("ali", Correction(text="ali bey"))), POLICY) is None
    own = vote("ayşe", Correction(text="Zeynep Hanım"), model="oracle-7b")
    alike = POLICY.reference.model_copy(update={"judges": ("oracle-7b",)})
    assert reference.question(scored(own), POLICY.model_copy(update={"reference": alike})) is None


@pytest.mark.parametrize(
    ("model", "words", "verdict"),
    [
        ("Zeynep", "yyyy", "accept"),
        ("Zeynep", "yyy", "quarantine"),
        ("Ali", "yyyyy", "quarantine"),
        ("Ali", "yyyyyy", "accept"),
        ("", "yyyy", "quarantine"),
    ],
)
def test_the_model_counts_as_one_of_the_users_asked(model: str, words: str, verdict: str):
    guard = Guard(POLICY)
    (decided,) = guard.submit([CORRECTION])
    if model:
        assert guard.compared(told(CORRECTION, model)) == []
    for number, word in enumerate(words):
        for changed in guard.opinion(CORRECTION, f"u{number}", right=word == "y"):
            decided = changed
    assert decided.verdict == verdict
    codes = {reason.code: reason.nats for reason in decided.reasons}
    if verdict == "accept":
        assert codes["blind_reference"] == (-2.2 if model == "Zeynep" else 2.2)


def test_a_verdict_that_comes_last_decides_what_waited():
    guard = Guard(POLICY)
    guard.submit([CORRECTION])
    for number in range(4):
        assert guard.opinion(CORRECTION, f"u{number}", right=True) == []
    (decided,) = guard.compared(told(CORRECTION, "Zeynep"))
    assert decided.verdict == "accept"
    assert guard.compared(told(CORRECTION, "Zeynep")) == []


def test_praise_of_the_answer_that_the_model_prefers_needs_one_user_less():
    guard, praise = Guard(POLICY), vote("ali", Thumb(up=True))
    guard.submit([CORRECTION, praise])
    guard.compared(told(CORRECTION, "Ali"))
    for user in ("u1", "u2"):
        assert guard.opinion(praise, user, right=True) == []
    assert [d.verdict for d in guard.opinion(praise, "u3", right=True)] == ["accept"]


@pytest.mark.parametrize(
    "verdict",
    [
        told(CORRECTION, "Zeynep", orders=("a", "b")),
        told(CORRECTION, "Zeynep", orders=("tie", "tie")),
        told(CORRECTION, "Zeynep", orders=("unscored", "unscored")),
        told(CORRECTION, "Zeynep").model_copy(update={"first_order": "tie"}),
        told(CORRECTION, "Zeynep", judge="somebody-else"),
        told(CORRECTION, "Zeynep").model_copy(update={"item": "reference:broken"}),
        told(CORRECTION, "Zeynep").model_copy(update={"item": "evaluation-7"}),
    ],
)
def test_orders_that_disagree_and_other_verdicts_are_no_evidence(verdict: JudgementCompleted):
    assert reference.read(verdict, POLICY) is None


def test_a_model_of_two_minds_is_not_heard_and_each_pair_is_kept_once():
    zeynep, ali, veli = (mark(name) for name in ("zeynep hanım", "ali bey", "veli bey"))
    claim = Claim({name: Support() for name in ("zeynep hanım", "ali bey", "veli bey")})
    once = reference.booked(claim, reference.Preferred("c", zeynep, ali))
    assert preference(once, "zeynep hanım") == 1
    assert preference(once, "ali bey") == -1
    assert preference(once, "veli bey") == 0
    assert reference.booked(once, reference.Preferred("c", ali, zeynep)) is once
    twice = reference.booked(once, reference.Preferred("c", veli, zeynep))
    assert preference(twice, "zeynep hanım") == 0
    assert preference(twice, "veli bey") == 1
    assert reference.booked(Claim(), reference.Preferred("c", zeynep, ali)) == Claim()


NAMES = [account_id("default", f"u{n}") for n in range(30)]
NATS = st.floats(-6, 6, allow_nan=False)


@st.composite
def claims_about(draw: Any) -> Claim:
    """Draw a claim about the canteen with anything but a decided panel of users."""
    answers = {}
    for answer in ("zeynep hanım", "ali bey"):
        people = [draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True)) for _ in range(4)]
        asked = draw(st.integers(0, 3))
        sides = (tuple(NAMES[:asked]), ()) if draw(st.booleans()) else ((), tuple(NAMES[:asked]))
        votes, older, right, wrong = map(tuple, people)
        answers[answer] = Support(votes, len(votes), right, wrong, *sides, older=older[:2])
    return Claim(answers, draw(st.sampled_from([None, "ali bey", "zeynep hanım", "veli"])))


@given(
    claim=claims_about(),
    signal=st.sampled_from([Thumb(up=True), Thumb(up=False), Correction(text="Zeynep Hanım")]),
    reasons=st.lists(st.tuples(st.sampled_from(["injection", "toxic", "takeover"]), NATS)),
    trust=NATS,
    cap=st.floats(0, 2.2),
    praise=st.booleans(),
)
def test_no_answer_of_the_model_accepts_or_rejects_alone(
    claim: Claim,
    signal: Thumb | Correction,
    reasons: list[tuple[str, float]],
    trust: float,
    cap: float,
    praise: bool,
):
    """Whatever else is known: until the users asked are within one voice of deciding, nothing."""
    base = POLICY if praise else eager(POLICY)
    panel = base.panel.model_copy(update={"praise_lead": 5})
    weights = base.weights.model_copy(update={"blind": cap})
    policy = base.model_copy(update={"weights": weights, "panel": panel})
    item = scored(vote("ayşe", signal)).model_copy(
        update={"reasons": tuple(Reason(code=c, nats=n) for c, n in reasons), "trust": trust}
    )
    without = core.decide(item, claim, policy)
    for better in (True, False):
        said = claim.support("ali bey").preferred(mark("zeynep hanım"), better)
        with_it = core.decide(item, claim.with_support("ali bey", said), policy)
        assert with_it.verdict == without.verdict
        assert abs(with_it.score - without.score) <= cap + 1e-9


def test_no_policy_lets_the_model_decide_without_people():
    whole = {**POLICY.model_dump()}
    whole["weights"] = {**whole["weights"], "blind": 6.7}
    with pytest.raises(ValidationError, match="without any person"):
        Policy.model_validate(whole)
    for endless in (float("inf"), float("nan"), -1.0):
        whole["weights"]["blind"] = endless
        with pytest.raises(ValidationError, match="blind"):
            Policy.model_validate(whole)
    assert abs(voice(1, POLICY)) == 1.0


def test_a_model_that_is_not_declared_to_have_learned_from_trusted_data_is_refused():
    with pytest.raises(ValidationError, match="confirms its poison"):
        Policy.model_validate({**SHIPPED.model_dump(), "reference": {"judges": ["m"]}})


def test_a_local_model_of_ours_that_learned_from_feedback_is_refused(tmp_path: Path):
    card = '---\ntags: ["imece", "lora"]\n---\n# m\n\n## Data\n| data set | version | digest |\n'
    card += "| --- | --- | --- |\n| qa | 1 | `x` |\n"
    folder, policy = tmp_path / "model", tmp_path / "policy.toml"
    folder.mkdir()
    text = FILE.read_text("utf-8")
    text = text.replace("judges = []", f'judges = ["imece-local/{folder} (weak)"]')
    policy.write_text(text.replace('trained_on = "" ', 'trained_on = "trusted" '), "utf-8")

    async def publish(*_: object) -> None: ...

    def start() -> None:
        build(Settings(home=tmp_path, cache=tmp_path), publish, GuardSettings(policy=policy))

    (folder / "README.md").write_text(card, "utf-8")
    start()
    (folder / "README.md").write_text(f"{card}| feedback | 3 | `y` |\n", "utf-8")
    with pytest.raises(ConfigError, match="learned from 'feedback'"):
        start()
    (folder / "README.md").write_text('---\ntags: ["llama"]\n---\n', "utf-8")
    start()
    assert data_sets(card) == {"qa"}


class World:
    """The routes with everything they published."""

    def __init__(self, database: Database, folder: Path, policy: Policy) -> None:
        self.out: list[Envelope[Any]] = []
        self.routes = Routes(database, Artifacts(folder.as_uri()), self.publish, policy)

    async def publish(self, *envelopes: Envelope[Any]) -> None:
        self.out += envelopes

    async def send(self, *events: Envelope[FeedbackSubmitted]) -> None:
        before = len(self.out)
        await self.routes.on_submitted(events)
        news = [e for e in self.out[before:] if isinstance(e.data, FeedbackScored)]
        await self.routes.on_scored(news)

    @property
    def asked(self) -> list[str]:
        return [e.id for e in self.out if isinstance(e.data, JudgementRequested)]


async def test_a_pair_is_asked_under_one_id_and_within_the_days_budget(
    database: Database, tmp_path: Path
):
    small = POLICY.reference.model_copy(update={"per_day": 1})
    world = World(database, tmp_path, POLICY.model_copy(update={"reference": small}))
    await world.send(CORRECTION)
    await world.send(CORRECTION)  # delivered again
    await world.send(vote("fatma", Correction(text="Zeynep Hanım.")))
    assert len(set(world.asked)) == 1
    assert len(world.asked) == 3
    await world.send(vote("can", Correction(text="Mehmet Bey")))
    assert len(set(world.asked)) == 1


async def test_nothing_is_asked_and_no_verdict_counts_unless_the_policy_names_a_model(
    database: Database, tmp_path: Path
):
    world = World(database, tmp_path, SHIPPED)
    await world.send(CORRECTION)
    assert world.asked == []
    verdict = Envelope(told(CORRECTION, "Zeynep"), "j", "imece/llm-judge", NOW)
    await world.routes.on_judgements([verdict])
    opinions = [OpinionGiven(item=item_of(CORRECTION), user=f"u{n}", right=True) for n in range(4)]
    for number, given_ in enumerate(opinions):
        await world.routes.on_opinion(Envelope(given_, f"o-{number}", "app", NOW))
    decided = [e.data for e in world.out if isinstance(e.data, FeedbackDecided)]
    assert [d.verdict for d in decided] == ["quarantine"]


def test_a_replay_takes_the_models_word_from_the_log(tmp_path: Path):
    at, soon = NOW + timedelta(hours=1), NOW + timedelta(minutes=1)
    opinions = [
        Envelope(
            OpinionGiven(item=item_of(CORRECTION), user=f"u{n}", right=True), f"o-{n}", "app", at
        )
        for n in range(4)
    ]
    verdict = Envelope(told(CORRECTION, "Zeynep"), "j", "imece/llm-judge", soon)
    events = [CORRECTION, verdict, *opinions]
    first, again = (whatif.run(POLICY, events, {}) for _ in range(2))
    assert first == again
    assert first[CORRECTION.id].verdict == "accept"
    policy = tmp_path / "policy.toml"
    text = FILE.read_text("utf-8").replace("judges = []", f'judges = ["{JUDGE}"]')
    policy.write_text(text.replace('trained_on = "" ', 'trained_on = "trusted" '), "utf-8")
    lines = [json.dumps(as_dict(event)) for event in events]
    (changed,) = json.loads(whatif.main([str(policy)], lines))
    assert (changed["before"], changed["after"]) == ("quarantine", "accept")
