"""Folders of large and empty files go into the store and come back, or are refused."""

from pathlib import Path

import pytest

from imece.errors import RejectedError
from imece.runtime.artifacts import Artifacts, digest

LARGE = 12 << 20  # more than one piece, and more than one part of an upload


def test_a_folder_comes_back_as_it_was(tmp_path: Path):
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "large").write_bytes(bytes(range(256)) * (LARGE >> 8))
    (folder / "deep" / "empty").touch()
    artifacts = Artifacts(str(tmp_path / "store"))
    stored = artifacts.put_folder("models/1", folder)
    assert stored.size == LARGE
    assert digest(artifacts.get(f"{stored.uri}/manifest.json")) == stored.digest
    found = artifacts.fetch_folder(stored.uri, stored.digest, tmp_path / "copies")
    assert (found / "large").read_bytes() == (folder / "large").read_bytes()
    assert (found / "deep" / "empty").read_bytes() == b""


def test_a_changed_byte_is_refused_and_leaves_nothing(tmp_path: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(LARGE))
    artifacts = Artifacts(str(tmp_path / "store"))
    stored = artifacts.put_folder("models/1", folder)
    (tmp_path / "store/models/1/large").write_bytes(bytes(LARGE - 1) + b"!")
    with pytest.raises(RejectedError, match="its bytes changed"):
        artifacts.fetch_folder(stored.uri, stored.digest, tmp_path / "copies")
    assert not list((tmp_path / "copies").iterdir())
