"""Files by URI and sha256, in a local folder or an S3-compatible store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

from imece.errors import (
    ConfigError,
    JobError,
    RejectedError,
    UnavailableError,
    disk_is_full,
)
from imece.hashes import sha256_of

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """Something in the store: where, its hash (``sha256:…``) and its size in bytes."""

    uri: str
    digest: str
    size: int


class Artifacts:
    """An artifact store. All methods block; a handler calls them in a thread."""

    def __init__(self, url: str) -> None:
        """Use ``s3://bucket/prefix`` or a folder (also as ``file://``)."""
        if "://" in url and not url.startswith("file://"):
            self.root = url.rstrip("/")
            try:
                self._store: Any = from_url(self.root)
            except Exception as error:  # obstore raises its own types and ValueError
                raise ConfigError(f"IMECE_ARTIFACTS={url}: {error}") from error
        else:
            folder = Path(url.removeprefix("file://")).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            self.root = f"file://{folder}"
            self._store = LocalStore(folder)

    def put(self, path: str, data: bytes) -> Stored:
        """Store `data` at `path`; storing the same again changes nothing."""
        self._put(path, data)
        return Stored(f"{self.root}/{path}", digest(data), len(data))

    def get(self, uri: str, expected: str | None = None) -> bytes:
        """Return the bytes at `uri`; `RejectedError` when gone or not what `expected` says."""
        data = b"".join(self._chunks(uri))
        if expected is not None and digest(data) != expected:
            raise _corrupt(uri, expected)
        return data

    def put_folder(self, prefix: str, folder: Path) -> Stored:
        """Store the files of `folder` under `prefix`, the manifest last; its hash is the digest.

        Files are read in pieces, here and in `fetch_folder`: weights may be larger than memory.
        """
        files = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if name == MANIFEST:
                continue
            known = f"sha256:{sha256_of(path)}"
            self._put(f"{prefix}/{name}", path)
            files.append({"name": name, "size": path.stat().st_size, "sha256": known})
        manifest = canonical_json({"files": files})
        stored = self.put(f"{prefix}/{MANIFEST}", manifest)
        return Stored(
            f"{self.root}/{prefix}", stored.digest, sum(int(str(f["size"])) for f in files)
        )

    def fetch_folder(self, uri: str, expected: str, into: Path) -> Path:
        """Return a verified local copy of the folder at `uri`, kept under ``into/<digest>``."""
        target = into / expected.removeprefix("sha256:")
        if (target / MANIFEST).exists():
            return target
        manifest = self.get(f"{uri}/{MANIFEST}", expected)
        into.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=into))
        try:
            for file in json.loads(manifest)["files"]:
                path = work / file["name"]
                if not path.resolve().is_relative_to(work.resolve()):
                    raise RejectedError("artifact_corrupt", f"{uri} names {file['name']!r}")
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(f"{uri}/{file['name']}", file["sha256"], path)
            (work / MANIFEST).write_bytes(manifest)
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(work, target)  # another process may have been faster
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if not (target / MANIFEST).exists():
            raise JobError("disk_full", f"{target} could not be written", retry=True)
        return target

    def _put(self, path: str, data: bytes | Path) -> None:
        try:
            obstore.put(self._store, path, data)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _full_or_unavailable(self.root, error) from error

    def _chunks(self, uri: str) -> Iterator[bytes]:
        path = self._path(uri)
        try:
            for chunk in obstore.get(self._store, path).stream():
                yield bytes(chunk)
        except FileNotFoundError as error:
            raise RejectedError("artifact_missing", f"{uri} is not in the store") from error
        except obstore.exceptions.BaseError as error:
            raise UnavailableError(f"artifact store {self.root}: {error}") from error

    def _fetch(self, uri: str, expected: str, into: Path) -> None:
        found = hashlib.sha256()
        with into.open("wb") as file:
            for chunk in self._chunks(uri):
                found.update(chunk)
                file.write(chunk)
        if f"sha256:{found.hexdigest()}" != expected:
            raise _corrupt(uri, expected)

    def _path(self, uri: str) -> str:
        if not uri.startswith(self.root + "/"):
            raise RejectedError("artifact_missing", f"{uri} is not in the store {self.root}")
        return uri.removeprefix(self.root + "/")


def digest(data: bytes) -> str:
    """Return ``sha256:<hex>`` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces, so that equal values have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _corrupt(uri: str, expected: str) -> RejectedError:
    return RejectedError("artifact_corrupt", f"{uri} is not {expected}: its bytes changed")


def _full_or_unavailable(root: str, error: BaseException) -> Exception:
    if disk_is_full(error):
        return JobError("disk_full", f"no space left in the artifact store {root}", retry=True)
    return UnavailableError(f"artifact store {root}: {error}")
