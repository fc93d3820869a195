"""Reading a data set version that is gone, changed or another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imece.errors import RejectedError
from imece.events import DatasetRef
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.datasets import read, stream
from tests.unit.ingest.world import World, instruction, submitted


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path) as world:
        await world.submit(submitted(instruction(1), "1"))
        await world.settle()
        yield world


def reason(world: World, ref: DatasetRef) -> str:
    with pytest.raises(RejectedError) as raised:
        read(world.artifacts, ref)
    assert ref.dataset in str(raised.value)
    return raised.value.reason


def file_of(world: World, name: str) -> Path:
    return next(Path(world.artifacts.root.removeprefix("file://")).rglob(name))


async def test_a_data_set_that_vanished_is_missing(world: World) -> None:
    file_of(world, "part-0000.parquet").unlink()
    assert reason(world, world.refs()[0]) == "dataset_missing"
    file_of(world, "manifest.json").unlink()
    assert reason(world, world.refs()[0]) == "dataset_missing"


async def test_a_data_set_in_another_store_is_missing(world: World) -> None:
    ref = world.refs()[0].model_copy(update={"uri": "s3://elsewhere/manifest.json"})
    assert reason(world, ref) == "dataset_missing"


@pytest.mark.parametrize("name", ["part-0000.parquet", "manifest.json"])
async def test_a_changed_byte_is_corruption(world: World, name: str) -> None:
    file = file_of(world, name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    assert reason(world, world.refs()[0]) == "dataset_corrupt"


async def test_the_manifest_of_another_version_is_corruption(world: World) -> None:
    assert reason(world, world.refs()[0].model_copy(update={"version": 2})) == "dataset_corrupt"


@pytest.mark.parametrize("content", [b"[1]", b"not json", canonical_json({"schema": 2})])
async def test_a_manifest_that_is_none_is_corruption(world: World, content: bytes) -> None:
    stored = world.artifacts.put("x/manifest.json", content)
    ref = DatasetRef(dataset="facts", version=1, digest=stored.digest, uri=stored.uri)
    assert reason(world, ref) == "dataset_corrupt"


async def test_rows_come_part_by_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.submit(submitted(instruction(2), "2"))
    await world.settle()
    ref, fetched, get = world.refs()[-1], list[str](), Artifacts.get

    def watched(self: Artifacts, uri: str, expected: str | None = None) -> bytes:
        fetched.append(uri)
        return get(self, uri, expected)

    monkeypatch.setattr(Artifacts, "get", watched)
    rows = stream(world.artifacts, ref)
    first = next(rows)
    before = len(fetched)
    assert [first, *rows] == read(world.artifacts, ref)
    parts = [uri for uri in fetched if uri.endswith(".parquet")]
    assert (before, len(parts)) == (2, 4)  # the manifest and a part, then both parts twice
