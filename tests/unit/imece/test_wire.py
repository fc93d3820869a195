"""Events on the wire: conformance with another implementation, and bad input by reason."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imece.errors import ContractError
from imece.events import (
    EVENTS,
    Document,
    Event,
    FeedbackRevoked,
    FeedbackScored,
    JobCancelRequested,
    RecordSubmitted,
    caused,
    decode,
    derived_id,
    encode,
    new,
)
from imece.events.base import MAX_BYTES, NAMESPACE
from tests.unit.imece.golden import golden

NAMES = st.from_regex(r"[a-zA-ZçğıöşüİĞ0-9_.:@/+-]{1,40}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf")), min_size=1, max_size=200)


def _good() -> dict[str, Any]:
    message = encode(golden(RecordSubmitted))
    return {"headers": dict(message.headers), "key": message.key, "value": message.value}


def _reason(kind: type[Event] = RecordSubmitted, **change: Any) -> str:
    parts = _good() | change
    with pytest.raises(ContractError) as caught:
        decode(kind, parts["headers"].items(), parts["key"], parts["value"])
    return caught.value.reason


def _headers(**change: bytes | None) -> dict[str, bytes | None]:
    return _good()["headers"] | change


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_the_cloudevents_sdk_reads_what_we_write(kind: type[Event]) -> None:
    event = golden(kind)
    message = encode(event)
    theirs = sdk.from_binary_event(
        sdk.KafkaMessage(dict(message.headers), message.key, message.value)
    )
    assert (theirs.get_id(), theirs.get_source()) == (event.id, event.source)
    assert theirs.get_type() == kind.topic.name
    assert theirs.get_time() == event.time
    assert theirs.get_data() == json.loads(message.value)


@pytest.mark.parametrize("write", [sdk.to_binary, sdk.to_structured])
def test_we_read_what_the_cloudevents_sdk_writes(write: Any) -> None:
    event = golden(RecordSubmitted)
    attributes = {
        "id": "1",
        "source": "app",
        "type": event.data.topic.name,
        "specversion": "1.0",
        "datacontenttype": "application/json",
    }
    theirs = CloudEvent(attributes, event.data.model_dump(mode="json"))
    message = write(theirs, JSONFormat(), lambda _: event.data.key)
    key = message.key.encode() if isinstance(message.key, str) else message.key
    ours = decode(RecordSubmitted, message.headers.items(), key, message.value)
    assert (ours.data, ours.id, ours.source) == (event.data, "1", "app")


@given(NAMES, TEXTS, TEXTS, st.booleans())
def test_decoding_undoes_encoding(record_set: str, text: str, id: str, ends: bool) -> None:
    data = RecordSubmitted(record_set=record_set, record=Document(text=text), ends_set=ends)
    event = new(data, "tests", id)
    message = encode(event)
    assert decode(RecordSubmitted, message.headers, message.key, message.value) == event


@given(NAMES, NAMES)
def test_the_same_cause_gives_the_same_id_and_another_part_another(job: str, part: str) -> None:
    cause = golden(RecordSubmitted)
    data = JobCancelRequested(job=job)
    assert caused(data, "a", cause, part).id == caused(data, "a", cause, part).id
    assert caused(data, "a", cause, part).id != caused(data, "a", cause, part + "x").id


@given(st.lists(TEXTS, max_size=4))
def test_a_derived_id_is_a_uuid5(parts: list[str]) -> None:
    assert derived_id(*parts) == str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no_data"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"\xff", "invalid_utf8"),
        (b"[]", "invalid_data"),
        (b"null", "invalid_data"),
        (b"{}", "invalid_data"),
        (b'{"record_set": 5, "ends_set": true}', "invalid_data"),
        (b'{"record_set": "s", "record": {"kind": "nope"}}', "invalid_data"),
        (b'{"record_set": "s", "record": {"kind": "document", "text": ""}}', "invalid_data"),
        (
            b'{"record_set": "s", "record": {"kind": "document", "text": "a\\u0000"}}',
            "control_character",
        ),
        (
            b'{"record_set": "s", "record": {"kind": "document", "text": "a\\u202e"}}',
            "bidi_character",
        ),
        (b'"' + b"x" * MAX_BYTES + b'"', "too_large"),
    ],
    ids=[str(n) for n in range(14)],
)
def test_a_bad_value_is_refused_by_name(value: bytes | None, reason: str) -> None:
    assert _reason(value=value) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content-type": b"text/plain"}, "wrong_content_type"),
        ({"ce_specversion": b"0.3"}, "unsupported_specversion"),
        ({"ce_id": None}, "missing_attribute"),
        ({"ce_source": b""}, "missing_attribute"),
        ({"ce_type": b"imece.record.submitted.v2"}, "future_major"),
        ({"ce_type": b"something.else.v1"}, "wrong_type"),
        ({"ce_time": b"yesterday"}, "invalid_time"),
        ({"ce_id": b"\xff"}, "invalid_header"),
    ],
)
def test_a_bad_header_is_refused_by_name(change: dict[str, bytes | None], reason: str) -> None:
    assert _reason(headers=_headers(**change)) == reason


def test_the_key_has_to_be_the_ordering_field() -> None:
    assert _reason(key=b"") == "empty_key"
    assert _reason(key=None) == "empty_key"
    assert _reason(key=b"another") == "wrong_key"


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", "1" * 400])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    event = golden(FeedbackScored)
    message = encode(event)
    body = json.loads(message.value) | {"trust": "@"}
    value = json.dumps(body).replace('"@"', number).encode()
    with pytest.raises(ContractError) as caught:
        decode(FeedbackScored, message.headers, message.key, value)
    assert (caught.value.reason, caught.value.pointer) == ("invalid_data", "/trust")


def test_a_count_beyond_exact_floats_is_refused() -> None:
    event = golden(FeedbackRevoked)
    message = encode(event)
    value = json.dumps(json.loads(message.value) | {"version": 10**30}).encode()
    with pytest.raises(ContractError, match="/version"):
        decode(FeedbackRevoked, message.headers, message.key, value)


def test_an_unknown_field_is_ignored_when_read_and_refused_when_built() -> None:
    good = _good()
    body = json.loads(good["value"]) | {"new_field": 1}
    event = decode(RecordSubmitted, good["headers"].items(), good["key"], json.dumps(body).encode())
    assert event == golden(RecordSubmitted)
    with pytest.raises(ValidationError, match="new_field"):
        RecordSubmitted.model_validate(body)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("odd", ["1", '"\\ud800"', "NaN", "[" * 150 + "]" * 150, "1" * 400])
def test_a_body_is_read_alike_in_one_go_and_in_steps(kind: type[Event], odd: str) -> None:
    message = encode(golden(kind))
    first = next(iter(json.loads(message.value)))
    # An odd unknown field, and a field that is there twice: the last one counts.
    twice = f'{{"{first}": null, "new_field": {odd}, '.encode() + message.value[1:]
    read = decode(kind, message.headers, message.key, twice)
    assert read.data == kind.model_validate(json.loads(twice), extra="ignore") == golden(kind).data


def test_of_several_faults_the_first_is_named() -> None:
    bare = _headers(ce_id=b"")
    assert _reason(headers=bare, value=b"{") == "invalid_json"
    assert _reason(headers=bare, value=b"{}") == "missing_attribute"
    assert _reason(headers=bare, key=b"") == "missing_attribute"


def test_structured_mode_is_for_public_topics_only() -> None:
    headers = {"content-type": b"application/cloudevents+json"}
    assert _reason(headers=headers, value=b"[]") == "invalid_data"
    assert _reason(headers=headers, value=b"{}") == "missing_attribute"
    assert _reason(FeedbackScored, headers=headers, value=b"{}") == "wrong_content_type"


def test_an_event_that_is_too_large_is_refused_before_it_is_sent() -> None:
    big = Document(text="ş" * 100_000)
    ok = new(RecordSubmitted(record_set="s", record=big), "tests")
    assert len(encode(ok).value) < MAX_BYTES
    emoji = RecordSubmitted(record_set="s", record=Document(text="🌙" * 100_000))
    with pytest.raises(ContractError, match="object storage") as caught:
        encode(new(emoji, "tests"))
    assert caught.value.reason == "too_large"
