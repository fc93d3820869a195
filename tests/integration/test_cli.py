"""The commands against a real broker, through the installed entry point's app."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from imece.cli.common import events_of, where
from imece.cli.main import app
from imece.client import Producer
from imece.events import (
    CampaignFlagged,
    Envelope,
    JobState,
    PromotionApproved,
    PromotionDecided,
    PromotionProposed,
    RecordSubmitted,
    dead_topic,
    new,
)
from imece.runtime.topics import reconcile
from tests.unit.imece.golden import golden

pytestmark = pytest.mark.kafka


@pytest.fixture
def run(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("IMECE_KAFKA", kafka)
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    asyncio.run(reconcile(kafka))
    return lambda *arguments, **more: CliRunner().invoke(app, list(arguments), **more)


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _raw(kafka: str, *records: tuple[str, bytes, bytes, list[tuple[str, bytes]]]) -> None:
    async def send() -> None:
        producer = Producer(kafka)
        await producer.raw(list(records))
        await producer.stop()

    asyncio.run(send())


def _send(kafka: str, *events: Envelope) -> None:
    async def send() -> None:
        producer = Producer(kafka)
        await producer.send(*events)
        await producer.stop()

    asyncio.run(send())


def test_topics_exist_as_declared(run) -> None:  # type: ignore[no-untyped-def]
    rows = json.loads(_ok(run("topics", "--create", "--json")))
    assert len(rows) >= 28
    assert all(row["existing"] == row["partitions"] for row in rows)


def test_what_is_published_can_be_watched(run) -> None:  # type: ignore[no-untyped-def]
    id = str(uuid.uuid4())
    event = golden(RecordSubmitted).data.model_dump(mode="json")
    line = json.dumps({"type": RecordSubmitted.topic.name, "id": id, "data": event})
    assert json.loads(_ok(run("publish", "-", "--json", input=line))) == {"published": 1}
    arguments = ("watch", RecordSubmitted.topic.name, "--since", "1h", "--count", "1", "--json")
    assert "İzmir" in _ok(run(*arguments))


def test_a_bad_line_publishes_nothing(run) -> None:  # type: ignore[no-untyped-def]
    result = run("publish", "-", "--json", input='{"type": "nope", "data": {}}\n')
    assert result.exit_code == 2
    assert json.loads(result.stdout)[0]["reason"] == "unknown_type"


def test_a_replayed_message_is_the_original_and_no_longer_listed(run, kafka: str) -> None:  # type: ignore[no-untyped-def]
    offset = str(uuid.uuid4().int % 10**9)
    topic = RecordSubmitted.topic.name
    marks = {"original-topic": topic, "original-partition": "0", "original-offset": offset}
    marks |= {"error-reason": "invalid_json", "error-message": "bad", "attempts": "1"}
    headers = [("own", b"1"), *((f"x-{name}", text.encode()) for name, text in marks.items())]
    dead = dead_topic("trainer").name
    _raw(kafka, (dead, b"k", b"\xff", headers), (dead, b"k", b"\xff", headers))
    subject = f"{topic}/0/{offset}"

    def listed() -> list[str]:
        return [row["subject"] for row in json.loads(_ok(run("dead", "ls", "trainer", "--json")))]

    assert listed().count(subject) == 1
    assert json.loads(_ok(run("dead", "show", "trainer", subject)))["headers"] == {"own": "1"}
    assert "would be" in _ok(run("dead", "replay", "trainer", subject, "--dry-run"))
    assert subject in listed()
    _ok(run("dead", "replay", "trainer", subject))
    assert subject not in listed()
    assert run("dead", "drop", "trainer", subject).exit_code == 2


def test_status_names_services_jobs_and_the_champion(run, kafka: str) -> None:  # type: ignore[no-untyped-def]
    job = f"j-{uuid.uuid4()}"
    state = golden(JobState).data.model_copy(update={"job": job})
    done = state.model_copy(update={"state": "succeeded", "version": state.version + 1})
    _send(kafka, *(new(one, "test") for one in (golden(PromotionDecided).data, state)))
    assert job in _ok(run("jobs", "cancel", job))
    _send(kafka, new(done, "test"))
    found = json.loads(_ok(run("status", "--json")))
    assert {row["service"] for row in found["services"]} >= {"ingest", "trainer"}
    assert {row["job"]: row["state"] for row in found["jobs"]}[job] == "succeeded"
    assert found["champions"]["asistan"]["name"] == "asistan"
    assert "succeeded" in _ok(run("jobs", "watch", job))
    assert run("jobs", "cancel", job).exit_code == 2


def test_campaigns_are_listed_as_they_were_announced_last(run, kafka: str) -> None:  # type: ignore[no-untyped-def]
    flag, tenant = golden(CampaignFlagged).data, f"t-{uuid.uuid4()}"
    pair = flag.model_copy(update={"tenant": tenant, "accounts": 2, "before": 1})
    four = flag.model_copy(update={"tenant": tenant, "accounts": 4, "before": 2})
    twice = new(pair, "test", "pair")
    _send(kafka, twice, twice, new(four, "test"))
    rows = json.loads(_ok(run("guard", "campaigns", "--json")))
    (row,) = [row for row in rows if row["tenant"] == tenant]
    assert (row["cluster"], row["accounts"], row["before"]) == (flag.cluster, 4, 2)


def test_a_promotion_waits_until_it_is_decided_and_shows_who_said_what(run, kafka: str) -> None:  # type: ignore[no-untyped-def]
    id, other = str(uuid.uuid4()), str(uuid.uuid4())
    asked = golden(PromotionProposed).data.model_copy(
        update={"evaluation": id, "requested_by": "ışıl"}
    )
    _send(kafka, new(asked, "test"), new(asked.model_copy(update={"evaluation": other}), "test"))

    def waiting() -> dict[str, str]:
        rows = json.loads(_ok(run("gate", "pending", "--json")))
        return {row["evaluation"]: row["said"] for row in rows}

    assert waiting() | {id: "", other: ""} == waiting()
    assert "ada approves" in _ok(run("gate", "approve", id, "--by", "ada"))
    assert "can denies" in _ok(run("gate", "deny", id, "--by", "can", "--note", "yanlış"))
    assert (waiting()[id], waiting()[other]) == ("ada: yes, can: no", "")
    said = [e.data for e in asyncio.run(events_of(where(), PromotionApproved))]
    mine = [(w.by, w.approved, w.note) for w in said if w.evaluation == id]
    assert mine == [("ada", True, ""), ("can", False, "yanlış")]
    decided = golden(PromotionDecided).data.model_copy(update={"evaluation": id})
    _send(kafka, new(decided, "test"))
    assert set(waiting()) & {id, other} == {other}


def test_a_word_that_cannot_count_is_refused_and_not_published(run, kafka: str) -> None:  # type: ignore[no-untyped-def]
    id = str(uuid.uuid4())
    asked = golden(PromotionProposed).data.model_copy(
        update={"evaluation": id, "requested_by": "ışıl"}
    )
    _send(kafka, new(asked, "test"))
    own = run("gate", "approve", id, "--by", "IŞIL")
    assert (own.exit_code, "somebody else" in own.output) == (2, True)
    for command in ("approve", "deny"):
        nothing = run("gate", command, "no-such-evaluation", "--by", "ada")
        assert (nothing.exit_code, "gate pending" in nothing.output) == (2, True)
        assert run("gate", command, id).exit_code == 2  # nobody says it
    said = asyncio.run(events_of(where(), PromotionApproved))
    assert not [e for e in said if e.data.evaluation in (id, "no-such-evaluation")]
    assert "ışıl denies" in _ok(run("gate", "deny", id, "--by", "ışıl"))
