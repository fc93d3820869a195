"""The operator's tests judge code answers: what passes and is nothing but code is confirmed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import ConfigError
from imece.events import AnswerVerified, Correction, Envelope, FeedbackSubmitted, Thumb
from imece.runtime.database import Database
from services.feedback_guard import claims, sandbox, unit_tests, whatif
from services.feedback_guard.replay import Guard
from services.feedback_guard.sandbox import Call, Sandbox
from services.feedback_guard.testing import Checker
from services.feedback_guard.unit_tests import Case, Test, judge, program, same
from tests.unit.feedback_guard.policies import SHIPPED

NOW = datetime(2026, 5, 1, tzinfo=UTC)
QUESTION = "Write a function add(a, b)."
ADD = Test(
    question=QUESTION,
    function="add",
    cases=(Case(given=(1, 2), expected=3), Case(given=("a", "b"), expected="ab")),
)
RIGHT = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def fake(call: Call) -> list[dict[str, Any]] | None:
    """Run our own code without a sandbox."""
    names: dict[str, Any] = {}
    exec(call.code, names)
    told: list[dict[str, Any]] = []
    for arguments in call.cases:
        try:
            told.append({"value": names[call.function](*arguments)})
        except TypeError as error:
            told.append({"error": type(error).__name__})
    return told


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (RIGHT, True),
        (f"```python\n{RIGHT}\n```", True),
        (f"```\n{RIGHT}```\n", True),
        (WRONG, False),
        (f"Use this:\n```py\n{WRONG}\n```\nIt is tested.", False),
        (f"Use this:\n```py\n{RIGHT}\n```\nAnd visit our page.", None),
        (f"{RIGHT}  # visit our page", None),
        ('def add(a, b):\n    "visit our page"\n    return a + b', None),
        ("def add(a, b):\n    return a + b\n'visit our page'", None),
        ("def plus(a, b):\n    return a + b", None),
        ("Add the numbers.", None),
        (f"```\n{RIGHT}\n```\n```\n{WRONG}\n```", None),
    ],
)
def test_only_code_that_passes_and_says_nothing_else_is_confirmed(
    answer: str, verdict: bool | None
):
    assert judge(answer, ADD, fake) is verdict


def test_a_run_that_tells_nothing_is_no_evidence():
    assert judge(RIGHT, ADD, lambda _: None) is None


@given(JSONS, JSONS)
def test_a_value_is_the_same_as_itself_and_only_as_what_json_takes_for_it(one: Any, two: Any):
    assert same(one, json.loads(json.dumps(one)))
    if json.dumps(one, sort_keys=True) != json.dumps(two, sort_keys=True) and not (
        isinstance(one, int | float) or isinstance(two, int | float)
    ):
        assert same(one, two) == same(two, one)
    assert not same(True, 1)
    assert not same([1], [1, 2])
    assert same(0.1 + 0.2, 0.3)
    assert not same("12", ["1", "2"])


@given(st.text(max_size=200))
def test_any_text_is_looked_at_without_an_error(text: str):
    for answer in (text, f"def add{text}", f"```\ndef add(a, b):\n{text}\n```"):
        code, _ = program(answer, "add")
        for told, verdicts in (([0, 0], {False}), ([3, "ab"], {True, None})):
            found = judge(answer, ADD, lambda _, told=told: [{"value": v} for v in told])
            assert found in ({None} if code is None else verdicts)


def test_code_that_differs_in_a_sign_is_another_answer():
    assert claims.answer_key(RIGHT, QUESTION) != claims.answer_key(WRONG, QUESTION)
    assert claims.answer_key(RIGHT + "\n", QUESTION) == claims.answer_key(RIGHT, QUESTION)
    assert claims.answer_key("Paris is a class: first class.", "?").startswith("paris")


def test_a_broken_file_is_named(tmp_path: Path):
    path = tmp_path / "tests.toml"
    with pytest.raises(ConfigError, match=r"tests\.toml"):
        unit_tests.load(path)
    path.write_text('[[test]]\nquestion = "?"\nfunction = "f"\ncases = []\n')
    with pytest.raises(ConfigError, match="cases"):
        unit_tests.load(path)
    case = "{ given = [1, 2], expected = 3 }"
    path.write_text(f'[[test]]\nquestion = "{QUESTION}"\nfunction = "add"\ncases = [{case}]\n')
    assert unit_tests.load(path)[claims.claim_id("default", QUESTION)].function == "add"


def test_the_example_of_the_documentation_is_a_file_of_tests(tmp_path: Path):
    path = tmp_path / "tests.toml"
    text = Path("docs/guard.md").read_text("utf-8")
    path.write_text(text.partition("```toml\n")[2].partition("```")[0], "utf-8")
    (test,) = unit_tests.load(path).values()
    assert judge(RIGHT, test, fake) is True


def test_without_bubblewrap_the_guard_does_not_start():
    with pytest.raises(ConfigError, match="there is no no-such-sandbox"):
        Sandbox("no-such-sandbox")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_jumps_within_itself(machine: str):
    """Interpret it: what is denied ends in EPERM, another machine dies, the rest is allowed."""
    audit, denied = sandbox._DENIED[machine]
    for number in denied:
        assert _filtered(machine, audit, number) == 0x00050001
    for number in (0, 1, 1000):
        if number not in denied:
            assert _filtered(machine, audit, number) == 0x7FFF0000
    assert _filtered(machine, audit, 0x40000000 + 1) == 0x00050001
    assert _filtered(machine, 1, 0) == 0x80000000


def _filtered(machine: str, audit: int, number: int) -> int:
    import struct

    steps = [*struct.iter_unpack("=HBBI", sandbox.filter_of(machine))]
    data, at, value = {0: number, 4: audit}, 0, 0
    while True:
        code, yes, no, k = steps[at]
        at += 1
        if code == 0x20:
            value = data[k]
        elif code == 0x15:
            at += yes if value == k else no
        elif code == 0x35:
            at += yes if value >= k else no
        else:
            return int(k)


def vote(user: str, signal: Thumb | Correction, answer: str) -> Envelope[FeedbackSubmitted]:
    data = FeedbackSubmitted(
        user=user, response=f"r-{user}", prompt=QUESTION, answer=answer, signal=signal
    )
    return Envelope(data, f"e-{user}", "test", NOW)


def verified(answer: str, right: bool) -> AnswerVerified:
    claim = claims.claim_id("default", QUESTION)
    return AnswerVerified(claim=claim, answer=claims.answer_key(answer, QUESTION), right=right)


def test_results_decide_what_waits_and_a_replay_runs_nothing():
    guard, fix = Guard(SHIPPED), vote("ayşe", Correction(text=RIGHT), WRONG)
    praise, down = vote("ali", Thumb(up=True), WRONG), vote("can", Thumb(up=False), WRONG)
    assert {d.verdict for d in guard.submit([fix, praise, down])} == {"quarantine"}
    (accepted,) = guard.verified(verified(RIGHT, True))
    assert accepted.verdict == "accept"
    assert "confirmed_by_tests" in {r.code for r in accepted.reasons}
    assert [d.verdict for d in guard.verified(verified(WRONG, False))] == ["accept"]
    assert guard.verified(verified(WRONG, True)) == []
    spoilt = vote("eve", Correction(text=WRONG), RIGHT)
    assert [d.verdict for d in guard.submit([spoilt])] == ["reject"]
    told = [Envelope(verified(RIGHT, True), "v", "imece/feedback-guard", NOW)]
    assert whatif.run(SHIPPED, [fix, *told], {})[fix.id].verdict == "accept"


class Pretend(Sandbox):
    """Our own code without a sandbox, counted."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, call: Call) -> list[dict[str, Any]] | None:
        self.runs += 1
        return fake(call)


async def test_each_answer_that_waits_is_run_once_and_told_until_it_arrives(
    database: Database, tmp_path: Path
):
    events = [vote(f"u{n}", Correction(text=RIGHT), WRONG) for n in range(3)]
    events += [vote("ali", Thumb(up=True), WRONG), vote("can", Thumb(up=True), "Just add them.")]
    Guard(SHIPPED, f"sqlite:///{tmp_path}/guard.db").submit(events)
    out: list[Envelope[Any]] = []
    down = True

    async def publish(*envelopes: Envelope[Any]) -> None:
        if down:
            raise ConnectionError("Kafka is away")
        out.extend(envelopes)

    pretend = Pretend()
    testing = Checker(database, publish, {claims.claim_id("default", QUESTION): ADD}, pretend)
    with pytest.raises(ConnectionError):
        await testing.step()
    down = False
    assert await testing.step() == 0
    assert {(e.data.answer, e.data.right) for e in out} == {
        (claims.answer_key(RIGHT, QUESTION), True),
        (claims.answer_key(WRONG, QUESTION), False),
    }
    assert len({e.id for e in out}) == 2
    assert pretend.runs == 2
    before = len(out)
    assert await testing.step() == 0
    assert len(out) == before
    stop = asyncio.Event()
    stop.set()
    await testing.run(stop)
