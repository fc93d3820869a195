"""What the commands share: where Kafka is, reading a topic to its end, printing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.structs import ConsumerRecord
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imece.cli.errors import load_settings
from imece.errors import ContractError, UnavailableError
from imece.events import Envelope, Event, decode
from imece.events.base import E
from imece.local.kafka import bootstrap
from imece.runtime.security import kafka_security
from imece.runtime.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True)
class Where:
    """The broker that the settings name."""

    settings: Settings
    kafka: str
    security: dict[str, Any]


def where() -> Where:
    """Return the broker to use; `ConfigError` or `UnavailableError` when there is none."""
    settings = load_settings()
    return Where(settings, bootstrap(settings.home, settings.kafka), dict(kafka_security(settings)))


async def read_all(at: Where, topic: str, seconds: float = 60) -> list[Record]:
    """Return the records that `topic` holds now; none when it does not exist."""
    # Not by a seek: the answer to the reset that `assign` begins could overtake it.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=at.kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **at.security,
    )
    try:
        await consumer.start()
        async with asyncio.timeout(seconds):
            partitions = await _partitions(at, topic)
            return await _to_end(consumer, partitions) if partitions else []
    except (KafkaError, OSError) as error:  # TimeoutError is an OSError
        raise UnavailableError(f"cannot read {topic} from Kafka at {at.kafka}: {error}") from error
    finally:
        await consumer.stop()


async def _partitions(at: Where, topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka, **at.security)
    try:
        await admin.start()
        found = await admin.describe_topics([topic])
    finally:
        await admin.close()
    code = found[0]["error_code"]
    if code == UnknownTopicOrPartitionError.errno:
        return []
    if code:
        raise for_code(code)(topic)
    return [TopicPartition(topic, part["partition"]) for part in found[0]["partitions"]]


async def _to_end(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> list[Record]:
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    starts = await consumer.beginning_offsets(partitions)
    left = {p for p in partitions if ends[p] > starts[p]}
    found: list[Record] = []
    while left:
        for batch in (await consumer.getmany(*left, timeout_ms=200)).values():
            found += [record for record in batch if record.offset < ends[_place(record)]]
        left = {p for p in left if await consumer.position(p) < ends[p]}
    return sorted(found, key=lambda record: record.timestamp)


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


async def events_of(at: Where, kind: type[E]) -> list[Envelope[E]]:
    """Return all valid events of a kind that its topic holds, oldest first."""
    found = []
    for record in await read_all(at, kind.topic.name):
        try:
            found.append(decode(kind, record.headers, record.key, record.value))
        except ContractError:
            continue  # the services that read it have parked it
    return found


def as_dict(event: Envelope[Event]) -> dict[str, Any]:
    """Return an event as it is printed in JSON."""
    return {
        "type": event.data.topic.name,
        "id": event.id,
        "source": event.source,
        "time": event.time.isoformat(),
        "data": event.data.model_dump(mode="json", exclude_none=True),
    }


def show(rows: Sequence[dict[str, Any]], as_json: bool, empty: str = "nothing") -> None:
    """Print rows as one JSON array or as a table; values come from outside, so no markup."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        typer.echo(empty)
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    Console().print(table)
