"""Checkpoints of one job over all its attempts: folders that appear whole or not at all.

The manifest with the sha256 of each file is written last, so a torn folder is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete, verified checkpoint after `step` steps."""

    step: int
    folder: Path


class Checkpoints:
    """The checkpoints of a job: written to the attempt's own folder, read from all attempts."""

    def __init__(self, job: str, own: Path, earlier: Sequence[Path] = ()) -> None:
        """Remember the folders; `earlier` are those of earlier attempts, newest first."""
        self.job = job
        self.own = own
        self.earlier = tuple(earlier)

    def __iter__(self) -> Iterator[Path]:
        """Yield the folders, own first, then those of earlier attempts, newest first."""
        return iter((self.own, *self.earlier))

    def save(self, step: int, write: Callable[[Path], None], *, keep: int = 2) -> Checkpoint:
        """Let `write` fill a folder, seal it as the checkpoint after `step`, keep the newest.

        Raises OSError as it comes (a full disk ends the job as ``disk_full``); nothing partial
        stays, and older checkpoints remain usable.
        """
        final = self.own / f"step-{step:012d}"
        partial = self.own / f".step-{step:012d}.{os.getpid()}"
        partial.mkdir(parents=True)
        try:
            write(partial)
            _seal(partial, self.job, step)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in sorted(self.own.glob("step-*"))[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return Checkpoint(step, final)

    def newest(self) -> Checkpoint | None:
        """Return the sound checkpoint with most steps; torn and foreign ones are passed over."""
        found = [path for folder in self for path in folder.glob("step-*")]
        for path in sorted(found, key=lambda path: path.name, reverse=True):
            if (step := _verified_step(path, self.job)) is not None:
                return Checkpoint(step, path)
        return None


def _seal(folder: Path, job: str, step: int) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        _sync(path)
    listed = [_entry(folder, path) for path in files]
    manifest = folder / _MANIFEST
    manifest.write_text(json.dumps({"job": job, "step": step, "files": listed}), encoding="utf-8")
    _sync(manifest)


def _entry(folder: Path, path: Path) -> dict[str, str | int]:
    name = path.relative_to(folder).as_posix()
    return {"name": name, "size": path.stat().st_size, "sha256": _sha256(path)}


def _verified_step(folder: Path, job: str) -> int | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["job"] != job:
            return None
        for entry in manifest["files"]:
            path = folder / entry["name"]
            if path.stat().st_size != entry["size"] or _sha256(path) != entry["sha256"]:
                return None
        return int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
