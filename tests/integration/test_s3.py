"""Artifacts in an S3-compatible store: moto's server on this machine, spoken to over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore.store
import pytest
from moto.server import ThreadedMotoServer

from imece.errors import RejectedError, UnavailableError
from imece.runtime.artifacts import Artifacts, digest


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty prefix of a bucket; reached as the settings' AWS_* say."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    reset = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=120).close()  # moto keeps its state between servers
    make = urllib.request.Request(f"{address}/artifacts", method="PUT")
    with urllib.request.urlopen(make, timeout=120) as answer:
        assert answer.status == 200
    try:
        yield "s3://artifacts/prefix"
    finally:
        server.stop()


def folder_at(path: Path) -> Path:
    (path / "içi").mkdir(parents=True)
    (path / "içi" / "ağırlık 1.bin").write_bytes(bytes(range(256)) * 1000)
    (path / "config.json").write_text("{}")
    return path


def test_a_folder_comes_back_whole_from_another_client(store: str, tmp_path: Path) -> None:
    stored = Artifacts(store).put_folder("adapters/job/1", folder_at(tmp_path / "out"))
    assert stored.uri == f"{store}/adapters/job/1"
    found = Artifacts(store).fetch_folder(stored.uri, stored.digest, tmp_path / "cache")
    assert (found / "içi" / "ağırlık 1.bin").read_bytes() == bytes(range(256)) * 1000
    assert (found / "config.json").read_text() == "{}"


def test_storing_again_changes_nothing(store: str, tmp_path: Path) -> None:
    artifacts, folder = Artifacts(store), folder_at(tmp_path / "out")
    assert artifacts.put_folder("a", folder) == artifacts.put_folder("a", folder)
    local = Artifacts(str(tmp_path / "local")).put_folder("a", folder)
    assert artifacts.put_folder("a", folder).digest == local.digest


def test_what_is_gone_or_changed_is_refused_by_name(store: str, tmp_path: Path) -> None:
    artifacts = Artifacts(store)
    with pytest.raises(RejectedError) as raised:
        artifacts.get(f"{store}/nothing")
    assert raised.value.reason == "artifact_missing"
    stored = artifacts.put_folder("a", folder_at(tmp_path / "out"))
    artifacts.put("a/config.json", b"{ }")
    with pytest.raises(RejectedError) as raised:
        artifacts.fetch_folder(stored.uri, stored.digest, tmp_path / "cache")
    assert raised.value.reason == "artifact_corrupt"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_bucket_that_is_not_there_is_a_failure_that_says_so(store: str) -> None:
    artifacts = Artifacts(store.replace("artifacts", "other"))
    with pytest.raises((UnavailableError, RejectedError), match="other"):
        artifacts.put("x", b"x")


def test_the_bytes_are_in_the_store_and_not_on_this_disk(store: str) -> None:
    stored = Artifacts(store).put("x", b"bytes")
    assert stored.digest == digest(b"bytes")
    listed = obstore.list(obstore.store.from_url("s3://artifacts")).collect()
    assert [each["path"] for each in listed] == ["prefix/x"]
