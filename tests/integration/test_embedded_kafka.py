"""The embedded broker on the real thing: durable, restartable, alone, and gone when stopped."""

from __future__ import annotations

import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.integration.conftest import LocalKafka

pytestmark = pytest.mark.kafka


async def make_topic(address: str) -> str:
    topic = f"test-{uuid.uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    finally:
        await admin.close()
    return topic


async def send(address: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=value)
    finally:
        await producer.stop()


async def receive(address: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=address, group_id=topic, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return sorted([(await consumer.getone()).value for _ in range(count)])
    finally:
        await consumer.stop()


VALUES = sorted(f"ığüşöç {n}".encode() for n in range(50))


async def test_an_idempotent_producer_and_a_group_exchange_records(kafka: str) -> None:
    topic = await make_topic(kafka)
    await send(kafka, topic, VALUES)
    assert await receive(kafka, topic, len(VALUES)) == VALUES


async def test_acknowledged_records_survive_kill_9_of_the_broker(fresh_kafka: LocalKafka) -> None:
    topic = await make_topic(fresh_kafka.address)
    await send(fresh_kafka.address, topic, VALUES)
    before = fresh_kafka.address
    fresh_kafka.kill9()
    fresh_kafka.start()
    assert fresh_kafka.address == before
    assert await receive(before, topic, len(VALUES)) == VALUES
