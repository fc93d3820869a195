"""Bad input at ingest's door, and what it subscribes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from imece.errors import ContractError
from imece.events import (
    AdapterTrained,
    Document,
    FeedbackDecided,
    FeedbackRevoked,
    RecordRejected,
    RecordSubmitted,
    decode,
    encode,
)
from imece.runtime.delivery import Rejected
from imece.runtime.settings import Settings
from services.ingest.app import build
from services.ingest.settings import IngestSettings
from tests.unit.ingest.world import World, instruction, submitted


def rejected(value: bytes, key: str | None = "facts", *, reason: str, message: str) -> Rejected:
    topic = RecordSubmitted.topic.name
    return Rejected(topic, "e1", "app", key, value, reason, message, "/record/text")


@pytest.mark.parametrize(
    "value",
    [
        b"{broken",
        b"\xff\xfe",
        b'{"record_set":"facts"}',
        b'{"record_set":"facts","record":{"kind":"poem","text":"x"}}',
        b'{"record_set":"facts","record":{"kind":"document","text":"a\\u0000b"}}',
        b'{"record_set":"facts","record":{"kind":"document","text":"a\\u202eb"}}',
        b'{"record_set":"facts","record":{"kind":"labelled","text":"x","label":1e999}}',
        b'{"record_set":"facts","record":{"kind":"document","text":"' + b"x" * 300_000 + b'"}}',
    ],
)
async def test_undecodable_records_are_reported_upstream_with_their_reason(
    tmp_path: Path, value: bytes
) -> None:
    headers = encode(submitted(Document(text="x"), "e1")).headers
    with pytest.raises(ContractError) as raised:
        decode(RecordSubmitted, headers, b"facts", value)
    async with World(tmp_path) as world:
        bad = rejected(value, reason=raised.value.reason, message=str(raised.value))
        await world.routes.on_rejected(bad)
        await world.routes.on_rejected(bad)
        (event,) = world.sent(RecordRejected)
        assert (event.record_set, event.event_id) == ("facts", "e1")
        assert event.reason == raised.value.reason


async def test_a_rejection_without_readable_key_or_message_is_still_reported(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.routes.on_rejected(
            rejected(b"\x00", None, reason="no_data", message="\x00\u202e\n" + "x" * 9_000)
        )
        (event,) = world.sent(RecordRejected)
        assert event.record_set == "unknown"
        assert encode(world.published[0])


async def test_one_refused_record_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.submit(
            submitted(instruction(1), "1"),
            submitted(instruction(1), "twice"),
            submitted(instruction(2), "2"),
        )
        await world.settle()
        assert len(world.rows()) == 2
        assert [e.event_id for e in world.sent(RecordRejected)] == ["twice"]


async def test_a_hostile_data_set_name_stays_in_the_store(tmp_path: Path) -> None:
    name = "../../etc/x@1:y"
    async with World(tmp_path) as world:
        await world.submit(submitted(instruction(1), "1", dataset=name))
        await world.settle()
        assert world.refs(name)[0].uri.startswith(f"{world.artifacts.root}/datasets/")
        assert len(world.rows(name)) == 1


async def test_ingest_consumes_what_it_says(tmp_path: Path) -> None:
    async def publish(*_: object) -> None: ...

    service = build(Settings(home=tmp_path), publish, IngestSettings())
    assert [s.event for s in service.subscriptions] == [
        RecordSubmitted,
        FeedbackDecided,
        FeedbackRevoked,
        AdapterTrained,
    ]
    assert all("ingest" in s.event.topic.readers for s in service.subscriptions)
