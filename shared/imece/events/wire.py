"""CloudEvents 1.0 on Kafka: binary mode out, binary and structured mode in.

Source: the CloudEvents 1.0.2 core, JSON format and Kafka protocol binding specifications.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from imece.errors import ContractError
from imece.events.base import MAX_BYTES, E, Envelope, Event, Topic

STRUCTURED = "application/cloudevents+json"
Headers = Iterable[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record as bytes."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def encode(event: Envelope[Any]) -> Message:
    """Return the binary-mode record of `event`; `ContractError` when it exceeds 256 KiB."""
    value = event.data.model_dump_json(exclude_none=True).encode()
    if len(value) > MAX_BYTES:
        raise ContractError("too_large", _too_large(len(value)))
    moment = event.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.data.topic.name.encode()),
        ("ce_time", moment.encode()),
        ("content-type", b"application/json"),
    ]
    if event.traceparent:
        headers.append(("traceparent", event.traceparent.encode()))
    return Message(event.data.topic.name, event.data.key.encode(), value, headers)


def decode(kind: type[E], headers: Headers, key: bytes | None, value: bytes | None) -> Envelope[E]:
    """Read a record as a `kind`; `ContractError` with a reason code when it is not one."""
    attributes = _text_headers(headers)
    if value is None:
        raise ContractError("no_data", "the record has no value; send the event's data as JSON")
    if len(value) > MAX_BYTES:
        raise ContractError("too_large", _too_large(len(value)))
    content_type = attributes.get("content-type", "").partition(";")[0].strip().lower()
    if kind.topic.public and content_type == STRUCTURED:
        return _structured(kind, attributes, key, value)
    if content_type not in {"application/json", ""}:
        raise ContractError(
            "wrong_content_type", f"content-type is {content_type!r}; send application/json"
        )
    named = {name[3:]: text for name, text in attributes.items() if name.startswith("ce_")}
    trace = attributes.get("traceparent")
    try:
        event = kind.model_validate_json(value, extra="ignore")
    except ValidationError:  # in steps, which tell what is wrong
        return _event(kind, named, trace, _json(value), key)
    _check_attributes(kind.topic, named)
    return _envelope(event, named, trace, key)


def _structured(
    kind: type[E], headers: Mapping[str, str], key: bytes | None, value: bytes
) -> Envelope[E]:
    body = _json(value)
    if not isinstance(body, dict):
        raise ContractError("invalid_data", "a structured CloudEvent is a JSON object")
    attributes = {name: str(item) for name, item in body.items() if name != "data"}
    trace = headers.get("traceparent") or attributes.get("traceparent")
    return _event(kind, attributes, trace, body.get("data"), key)


def _event(
    kind: type[E],
    attributes: Mapping[str, str],
    traceparent: str | None,
    data: object,
    key: bytes | None,
) -> Envelope[E]:
    _check_attributes(kind.topic, attributes)
    try:
        event = kind.model_validate(data, extra="ignore")
    except ValidationError as error:
        raise _contract_error(error) from error
    return _envelope(event, attributes, traceparent, key)


def _envelope(
    event: E, attributes: Mapping[str, str], traceparent: str | None, key: bytes | None
) -> Envelope[E]:
    _check_key(event, key)
    return Envelope(event, attributes["id"], attributes["source"], _time(attributes), traceparent)


def _check_attributes(topic: Topic, attributes: Mapping[str, str]) -> None:
    for name in ("specversion", "id", "source", "type"):
        if not attributes.get(name):
            raise ContractError("missing_attribute", f"the CloudEvents attribute {name} is missing")
    if attributes["specversion"] != "1.0":
        raise ContractError(
            "unsupported_specversion", f"specversion is {attributes['specversion']!r}; send 1.0"
        )
    if attributes["type"] == topic.name:
        return
    stem = topic.name.rpartition(".v")[0]
    if re.fullmatch(re.escape(stem) + r"\.v\d+", attributes["type"]):
        raise ContractError(
            "future_major",
            f"{attributes['type']} belongs on its own topic; this one is {topic.name}",
        )
    raise ContractError("wrong_type", f"type is {attributes['type']!r}; this topic is {topic.name}")


def _check_key(event: Event, key: bytes | None) -> None:
    if not key:
        raise ContractError(
            "empty_key", f"the record key is empty; set it to {event.topic.key} ({event.key!r})"
        )
    if key != event.key.encode():
        raise ContractError(
            "wrong_key", f"the record key is {key!r}; order needs {event.topic.key} ({event.key!r})"
        )


def _time(attributes: Mapping[str, str]) -> datetime:
    text = attributes.get("time")
    if not text:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractError("invalid_time", f"time is {text!r}; send RFC 3339") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text_headers(headers: Headers) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, raw in headers:
        try:
            result[name.lower()] = (raw or b"").decode()
        except UnicodeDecodeError as error:
            if name.lower().startswith(("ce_", "content-type")):
                raise ContractError("invalid_header", f"header {name} is not UTF-8") from error
    return result


def _json(value: bytes) -> Any:
    try:
        return json.loads(value.decode())
    except UnicodeDecodeError as error:
        raise ContractError(
            "invalid_utf8", f"the value is not UTF-8 at byte {error.start}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ContractError("invalid_json", f"the value is not JSON: {error}") from error


def _contract_error(error: ValidationError) -> ContractError:
    """Name the first problem; the input itself is not repeated, since it may be private."""
    first = error.errors(include_url=False, include_input=False)[0]
    pointer = "".join(f"/{step}" for step in first["loc"])
    known = {"control_character", "bidi_character"}
    reason = first["type"] if first["type"] in known else "invalid_data"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ContractError(reason, f"{pointer or '/'}: {first['msg']}{more}", pointer)


def _too_large(size: int) -> str:
    return (
        f"the value has {size} bytes, at most {MAX_BYTES}; put it in object storage, send its URI"
    )
