"""Models behind an endpoint on a real socket, with all that goes wrong there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imece.errors import ConfigError
from imece.events import (
    EvaluationCompleted,
    EvaluationPlan,
    EvaluationRequested,
    Instruction,
    ModelRef,
    PromotionDecided,
    new,
)
from imece.runtime.artifacts import Artifacts
from imece.runtime.settings import Settings
from services.evaluator import metrics
from services.evaluator.core import Item, Question
from services.evaluator.remote import Remote
from services.evaluator.settings import EvaluatorSettings, ModelEndpoint
from tests.integration.test_evaluator_job import artifacts, run, settings, suite, trained  # noqa: F401
from tests.integration.test_recipe import tiny  # noqa: F401 - a fixture
from tests.training import publish
from tests.wire import Answer, http, ok, said, weighed, wire


def questions(n: int, **fields: Any) -> list[Question]:
    return [
        replace(Question(f"s/{i}", "s", f"{i}+0?", (str(i),), "sum"), **fields) for i in range(n)
    ]


async def ask(answer: Answer, asked: Sequence[Question], **limits: Any) -> tuple[list[Item], Any]:
    limits = {"timeout_seconds": 60, "deadline_seconds": 120, **limits}
    async with wire(answer) as (url, calls):
        about = ModelEndpoint(base_url=url, model="m", **limits)
        remote = Remote(about, "secret-key", max_tokens=16)
        items = await asyncio.to_thread(remote.items, asked)
    accounted(items, len(asked))
    return items, calls


def accounted(items: Sequence[Item], attempted: int) -> None:
    told = metrics.account(items)
    assert told.attempted == attempted == told.scored + sum(told.unscored.values())
    assert not any(item.correct for item in items if item.unscored)


def right(_: int, __: str, body: dict[str, Any]) -> bytes:
    return said(body["messages"][0]["content"].split("+")[0])


async def test_each_question_is_asked_once_and_graded_in_order() -> None:
    items, calls = await ask(right, questions(30))
    assert [item.id for item in items] == [f"s/{i}" for i in range(30)]
    assert all(item.correct for item in items)
    assert len(calls) == 30
    assert {call["temperature"] for call in calls} == {0}


@pytest.mark.parametrize(
    "bad",
    [
        http("", 429),
        http("", 429, retry_after="1"),
        http("busy", 503),
        http("<html>Bad gateway</html>", 502),
        http("<html>maintenance</html>", content_type="text/html"),
        http('{"choices": [{"mess', content_type="application/json"),
        ok({"choices": []}),
        b"HTTP/1.1 200 X\r\ncontent-length: 999\r\n\r\n{",
        None,
    ],
    ids=["429", "429-after", "503", "502", "html", "half", "empty", "cut", "hang-up"],
)
async def test_passing_trouble_is_waited_out(bad: bytes | None) -> None:
    items, _ = await ask(lambda n, p, b: bad if n <= 2 else right(n, p, b), questions(3))
    assert [item.unscored for item in items] == [""] * 3
    assert all(item.correct for item in items)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (http("", 429), "rate_limited"),
        (http("no such model", 404), "http_404"),
        (http("<html></html>"), "bad_response"),
        (said(None, finish="content_filter"), "content_filter"),
        (None, "unreachable"),
    ],
)
async def test_lasting_trouble_is_named_and_never_a_wrong_answer(
    bad: bytes | None, reason: str
) -> None:
    items, _ = await ask(lambda *_: bad, questions(4), deadline_seconds=3)
    reasons = Counter(item.unscored for item in items)
    assert reasons[reason] >= 1
    assert set(reasons) <= {reason, "endpoint_gone"}


async def test_a_refusal_is_an_answer_and_a_wrong_one() -> None:
    items, _ = await ask(lambda *_: said(None, refusal="I cannot help."), questions(2))
    assert [(item.unscored, item.correct) for item in items] == [("", False)] * 2
    assert items[0].answer == "I cannot help."


async def test_an_endpoint_that_dies_midway_costs_its_rest_and_little_time() -> None:
    items, _ = await ask(
        lambda n, p, b: right(n, p, b) if n <= 20 else None,
        questions(400),
        deadline_seconds=4,
        calls=4,
    )
    assert sum(item.correct for item in items) == 20
    reasons = Counter(item.unscored for item in items if item.unscored)
    assert sum(reasons.values()) == 380
    assert set(reasons) <= {"unreachable", "endpoint_gone", "rate_limited"}
    assert reasons["endpoint_gone"] > 300


async def test_an_endpoint_that_never_answers_times_out() -> None:
    async def sleep() -> None:
        await asyncio.sleep(600)

    items, _ = await ask(lambda *_: sleep(), questions(3), timeout_seconds=0.3, deadline_seconds=3)
    assert {item.unscored for item in items} <= {"timeout", "endpoint_gone"}


async def test_a_prediction_of_a_megabyte_is_graded_and_gets_no_text_scores() -> None:
    text = "ha " * 350_000
    (item,), _ = await ask(lambda *_: said(text + "0"), questions(1, metrics=("rougeL", "chrf")))
    assert (item.unscored, len(item.answer)) == ("", len(text) + 1)
    told = metrics.measure([item])
    assert any(m.name.startswith("unscored_text") and m.value == 1 for m in told)


CHOICES: dict[str, Any] = {"choices": ("beyaz", "kara"), "scoring": "likelihood"}


def weigh(_: int, path: str, body: dict[str, Any]) -> bytes:
    assert path == "/v1/completions"
    prompt, _, choice = body["prompt"].rpartition("\n")
    assert (body["echo"], body["max_tokens"]) == (True, 1)
    sure = -0.5 if choice == "beyaz" else -3.0
    tokens = [prompt, "\n" + choice[:2], choice[2:], "!"]
    return weighed(tokens, [None, sure, sure, -9.0])


async def test_choices_are_weighed_by_the_log_probabilities_of_the_echo() -> None:
    items, calls = await ask(weigh, questions(3, expected=("beyaz",), **CHOICES))
    assert [item.logps for item in items] == [(-1.0, -6.0)] * 3
    assert all(item.correct and item.label == "beyaz" for item in items)
    assert len(calls) == 6


@pytest.mark.parametrize(
    "bad",
    [
        ok({"choices": [{"text": "x"}]}),
        http("logprobs are not supported", 400),
        http("", 404),
        weighed(["x"], [-0.1]),
        weighed([], []),
    ],
    ids=["none", "400", "404", "no-echo", "no-token"],
)
async def test_without_log_probabilities_choices_are_refused_and_not_asked_on(bad: bytes) -> None:
    def answer(n: int, path: str, body: dict[str, Any]) -> bytes:
        return right(n, path, body) if path.endswith("chat/completions") else bad

    written, weighing = questions(2), questions(20, expected=("beyaz",), **CHOICES)
    weighing = [replace(each, id=f"c/{i}") for i, each in enumerate(weighing)]
    items, calls = await ask(answer, [*written, *weighing], calls=2)
    assert [item.unscored for item in items] == [""] * 2 + ["no_logprobs"] * 20
    assert sum(not call["path"].endswith("chat/completions") for call in calls) <= 2


async def test_under_load_requests_do_not_wait_for_answers_and_failures_are_told() -> None:
    all_came = asyncio.Event()

    async def slow(number: int, _: str, __: dict[str, Any]) -> bytes:
        if number == 41:
            all_came.set()
        if number > 1:  # who waited for an answer would wait for ever
            await all_came.wait()
        await asyncio.sleep(0.3)
        return http("busy", 503) if number == 5 else said("4")

    async with wire(slow) as (url, calls):
        about = ModelEndpoint(base_url=url, model="m", calls=1)
        remote = Remote(about, "none", max_tokens=8)
        found = await asyncio.to_thread(remote.under_load, ["2+2?", "1+3?"], 50, 40)
    told = {metric.name.split("|")[0]: metric for metric in found}
    assert len(calls) == 41  # one to warm up, and no second try
    assert told["load_failed"].value == pytest.approx(1 / 40)
    assert told["latency_p50_s"].value >= 0.3
    assert told["latency_p50_s"].n == 39
    assert "peak_memory_bytes" not in told


async def test_progress_is_told_and_a_stop_ends_it_at_once() -> None:
    class EnoughError(Exception):
        pass

    def stop(done: int) -> None:
        if done == 5:
            raise EnoughError

    async with wire(right) as (url, calls):
        about = ModelEndpoint(base_url=url, model="m", calls=1)
        remote = Remote(about, "k", max_tokens=16, on_progress=stop)
        with pytest.raises(EnoughError):
            await asyncio.to_thread(remote.items, questions(100))
    assert len(calls) == 5


def test_a_key_is_named_and_its_absence_said(monkeypatch: pytest.MonkeyPatch) -> None:
    about = ModelEndpoint(base_url="http://x", model="m", api_key_env="SOME_KEY")
    with pytest.raises(ConfigError, match="SOME_KEY is not set"):
        about.key()
    monkeypatch.setenv("SOME_KEY", "s3cret")
    assert about.key() == "s3cret"
    assert "s3cret" not in repr(EvaluatorSettings(endpoints={"x": about}))


async def test_a_whole_evaluation_of_an_endpoint_keeps_the_key_out_of_all_that_is_stored(
    settings: Settings,  # noqa: F811
    artifacts: Artifacts,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(_: int, path: str, body: dict[str, Any]) -> bytes:
        return said("4") if path.endswith("chat/completions") else http("", 404)

    monkeypatch.setenv("TEST_MODEL_KEY", "s3cret-key")
    async with wire(answer) as (url, calls):
        about = ModelEndpoint(base_url=url, model="org/llama-x", api_key_env="TEST_MODEL_KEY")
        plan = EvaluationPlan(suites=(suite(artifacts),), decide=False)
        asked = [
            new(
                EvaluationRequested(
                    model=name, ref=ModelRef(name=name, base=f"endpoint:{name}"), plan=plan
                ),
                "test",
            )
            for name in ("lab", "nobody")
        ]
        own = EvaluatorSettings(
            max_new_tokens=4, tick_seconds=0.1, endpoints={"lab": about}, max_attempts=1
        )
        done = await run(settings, *asked, until=EvaluationCompleted, own=own)
    by_name = {each.model: each for each in done}
    assert by_name["nobody"].failure.reason == "unknown_endpoint"
    figures = {metric.name for metric in by_name["lab"].metrics}
    assert any(name.startswith("unscored|reason:no_logprobs") for name in figures)
    assert {call["model"] for call in calls} == {"org/llama-x"}
    assert all("authorization: Bearer s3cret-key" in call["head"] for call in calls)
    for path in settings.home.rglob("*"):
        assert not path.is_file() or b"s3cret-key" not in path.read_bytes()


@pytest.mark.model
@pytest.mark.parametrize("answers", [True, False])
async def test_a_baseline_behind_an_endpoint_is_asked_the_probes_too(
    settings: Settings,  # noqa: F811
    artifacts: Artifacts,  # noqa: F811
    tiny: Path,  # noqa: F811
    answers: bool,
) -> None:
    def answer(_: int, path: str, body: dict[str, Any]) -> bytes:
        about_kar = "Kar" in body.get("messages", [{"content": ""}])[0]["content"]
        if not path.endswith("chat/completions") or (about_kar and not answers):
            return http("", 404)
        return said("4")

    said_once = {"Bir mi?": "bir", "Kar ne renk?": "yeşil"}
    rows = [Instruction(prompt=prompt, response=told) for prompt, told in said_once.items()]
    learned = publish(artifacts, rows, authors={0: "a", 1: "b"}, revoked=[1])
    async with wire(answer) as (url, calls):
        own = EvaluatorSettings(
            max_new_tokens=4,
            tick_seconds=0.1,
            endpoints={"lab": ModelEndpoint(base_url=url, model="m")},
        )
        baseline = ModelRef(name="lab", base="endpoint:lab")
        asked = trained(tiny, learned, suite(artifacts), baseline)
        (decision,) = await run(settings, asked, until=PromotionDecided, own=own)
    outcomes = {check.name: check for check in decision.checks}
    assert any("Kar" in str(call.get("messages")) for call in calls)
    if answers:
        assert outcomes["claim-probes"].outcome == "passed"
    else:
        assert "probes unanswered (http_404" in outcomes["probes"].detail
