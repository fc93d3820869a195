"""Delivery on a real Kafka: nothing lost, nothing stuck, bad messages parked as they were."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from imece.client import Client, Producer
from imece.errors import ContractError
from imece.events import DatasetPublished, Instruction, RecordRejected, RecordSubmitted, new
from imece.runtime.topics import reconcile
from tests.integration.herd import everything, records

pytestmark = pytest.mark.kafka
TOPIC = RecordSubmitted.topic.name
GOOD_HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "bad-1",
    "ce_source": "test",
    "ce_type": TOPIC,
    "content-type": "application/json",
}


class Ingest:
    """The ingest service as its own process."""

    def __init__(self, home: Path, kafka: str) -> None:
        self.home = home
        self.env = dict(os.environ, IMECE_HOME=str(home), IMECE_KAFKA=kafka)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home / "ingest.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"], env=self.env, stdout=log, stderr=log
            )

    def ready(self) -> str | None:
        """Return None when ready, else why not."""
        assert self.process is not None
        path = self.home / "run" / f"{self.process.pid}.json"
        if not path.exists():
            return "not listening yet"
        address = json.loads(path.read_text())["http"]
        try:
            urllib.request.urlopen(f"http://{address}/readyz", timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError as error:  # too busy to answer
            return str(error)
        return None

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 300
        while (why := self.ready()) is not None:
            assert self.process is not None
            assert self.process.poll() is None, (self.home / "ingest.log").read_text()
            assert time.monotonic() < deadline, why
            time.sleep(0.1)

    def end(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(300)


@pytest.fixture
def ingest(tmp_path: Path, kafka: str):
    service = Ingest(tmp_path, kafka)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.end(signal.SIGKILL)


def _record(record_set: str, number: int) -> RecordSubmitted:
    text = f"Question {number}: how much is {number} times 7?"
    return RecordSubmitted(
        record_set=record_set, record=Instruction(prompt=text, response=f"{number * 7}.")
    )


async def _rows(client: Client, record_set: str, wanted: int) -> DatasetPublished:
    async for event in client.follow(DatasetPublished, timeout=300):
        if event.data.dataset == record_set and event.data.rows >= wanted:
            return event.data
    raise AssertionError(f"no version of {record_set} with {wanted} rows")


async def test_a_bad_message_is_parked_untouched_and_the_stream_goes_on(ingest, kafka):
    name = f"bad-{time.time_ns()}"
    ingest.start()
    ingest.wait_ready()
    bad = {
        "invalid_json": (b"{broken", GOOD_HEADERS),
        "invalid_utf8": (b'{"record_set": "\xff"}', GOOD_HEADERS),
        "wrong_content_type": (b"{}", {**GOOD_HEADERS, "content-type": "text/csv"}),
        "missing_attribute": (b"{}", {"content-type": "application/json"}),
        "future_major": (b"{}", {**GOOD_HEADERS, "ce_type": TOPIC.replace("v1", "v2")}),
        "invalid_data": (json.dumps({"record_set": name}).encode(), GOOD_HEADERS),
        "too_large": (b'"' + b"x" * 300_000 + b'"', GOOD_HEADERS),
        "no_data": (None, GOOD_HEADERS),
    }
    producer = Producer(kafka)
    for value, headers in bad.values():
        await producer.raw(
            [(TOPIC, name.encode(), value, [(n, v.encode()) for n, v in headers.items()])]
        )
    await producer.raw([(TOPIC, None, b"{}", [(n, v.encode()) for n, v in GOOD_HEADERS.items()])])
    await producer.stop()
    async with Client(kafka, "test") as client:
        await client.publish(_record(name, 1), RecordSubmitted(record_set=name, ends_set=True))
        assert (await _rows(client, name, 1)).rows == 1
    rejected = [
        event.data.reason
        for event in await everything(kafka, RecordRejected)
        if event.data.record_set in {name, "unknown"}
    ]
    assert set(bad) <= set(rejected)
    parked = [r for r in await records(kafka, "imece.ingest.dead.v1") if r.key == name.encode()]
    reasons = {dict(r.headers)["x-error-reason"].decode(): r for r in parked}
    assert set(bad) == set(reasons)
    assert reasons["invalid_utf8"].value == bad["invalid_utf8"][0]
    assert dict(reasons["invalid_json"].headers)["ce_id"] == b"bad-1"


async def test_records_survive_kill_9_and_appear_once(ingest, kafka):
    name = f"kill-{time.time_ns()}"
    await reconcile(kafka)
    async with Client(kafka, "test") as client:
        ingest.start()
        for part in range(4):
            await client.publish(*(_record(name, part * 100 + n) for n in range(100)))
            await asyncio.sleep(0.4 * part)
            ingest.end(signal.SIGKILL)
            ingest.start()
        await client.publish(RecordSubmitted(record_set=name, ends_set=True))
        last = await _rows(client, name, 400)
        assert last.rows == 400
    versions = [
        event.data
        for event in await everything(kafka, DatasetPublished)
        if event.data.dataset == name
    ]
    assert sum(version.added for version in versions) == 400
    assert len({version.ref.version for version in versions}) == len(versions)


async def test_sigterm_ends_the_service_with_exit_code_0(ingest):
    ingest.start()
    ingest.wait_ready()
    assert ingest.end() == 0
    assert not list((ingest.home / "run").glob("*.json"))


def test_an_unreachable_kafka_is_named_by_readiness(tmp_path):
    service = Ingest(tmp_path, "127.0.0.1:1")
    service.start()
    try:
        deadline = time.monotonic() + 300
        while "127.0.0.1:1" not in (why := service.ready() or ""):
            assert time.monotonic() < deadline, why
            time.sleep(0.2)
    finally:
        assert service.end() == 0


async def test_a_record_of_10_mib_is_refused_and_the_next_one_goes_through(kafka):
    await reconcile(kafka)
    producer = Producer(kafka)
    try:
        with pytest.raises(ContractError) as refused:
            await producer.raw([(TOPIC, b"big", b"x" * (10 << 20), [])])
        assert refused.value.reason == "too_large"
        await producer.send(new(_record("after-the-big-one", 1), "test"))
    finally:
        await producer.stop()


async def test_many_records_at_once_arrive_in_order_beside_single_ones(kafka):
    await reconcile(kafka)
    names = [f"{kind}-{time.time_ns()}" for kind in ("many", "single")]
    async with Client(kafka, "test") as client:
        await asyncio.gather(
            client.publish(*(_record(names[0], n) for n in range(3_000))),
            client.publish(*(_record(names[0], n) for n in range(3_000, 3_200))),
            *(client.publish(_record(names[1], n)) for n in range(100)),
        )
    found = [event.data for event in await everything(kafka, RecordSubmitted, *names)]
    texts = {name: [d.record.prompt for d in found if d.record_set == name] for name in names}
    assert [t for t in texts[names[0]] if _number(t) < 3_000] == [
        _record(names[0], n).record.prompt for n in range(3_000)
    ]
    assert len(texts[names[0]]) == 3_200
    assert sorted(map(_number, texts[names[1]])) == list(range(100))


def _number(prompt: str) -> int:
    return int(prompt.removeprefix("Question ").partition(":")[0])
