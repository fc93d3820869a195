"""Checkpoints of a run: folders that appear whole or not at all.

The manifest with the sha256 of each file is written last, so a torn folder is passed over; so is
one of another run. `save` and `newest` keep numpy arrays in them, as safetensors and JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from imece.errors import JobError, disk_is_full
from imece.hashes import sha256_of

Arrays = dict[str, NDArray[Any]]
_MANIFEST, _TENSORS, _STATE = "manifest.json", "tensors.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """A complete, verified checkpoint after `step` steps."""

    step: int
    folder: Path


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after `step` steps."""

    step: int
    tensors: Arrays
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run: written to the attempt's own folder, read from all attempts."""

    def __init__(self, run: str, own: Path, earlier: Sequence[Path] = ()) -> None:
        """Remember the folders; `earlier` are those of earlier attempts, newest first.

        `run` says whose they are, a job's id or a digest of what makes two runs the same.
        """
        self.run = run
        self.own = own
        self.earlier = tuple(earlier)

    def __iter__(self) -> Iterator[Path]:
        """Yield the folders, own first, then those of earlier attempts, newest first."""
        return iter((self.own, *self.earlier))

    def save(self, step: int, write: Callable[[Path], None], *, keep: int = 2) -> Saved:
        """Let `write` fill a folder, seal it as the checkpoint after `step`, keep the newest.

        Raises JobError("disk_full") where the disk is full; nothing partial stays, and older
        checkpoints remain usable.
        """
        final = self.own / f"step-{step:08d}"
        partial_ = self.own / f".step-{step:08d}.{os.getpid()}"
        try:
            with disk_full_is_named(self.own):
                partial_.mkdir(parents=True, exist_ok=True)
                write(partial_)
                _seal(partial_, self.run, step)
                shutil.rmtree(final, ignore_errors=True)
                partial_.rename(final)
                _sync(self.own)
        finally:
            shutil.rmtree(partial_, ignore_errors=True)
        there = sorted(self.own.glob("step-*"))
        # Later ones are torn or of another run: this one would have gone on from its own.
        kept = [path for path in there if path.name <= final.name][-keep:]
        for old in (path for path in there if path not in kept):
            # The manifest goes first: what is half removed must not look whole to a reader.
            (old / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)
        return Saved(step, final)

    def newest(self) -> Saved | None:
        """Return the sound checkpoint with most steps; torn and foreign ones are passed over.

        One of an earlier attempt is adopted first: that attempt may still run somewhere, not yet
        aware that its lease is gone, and remove it.
        """
        found = [path for folder in self for path in folder.glob("step-*")]
        for path in sorted(found, key=lambda path: path.name, reverse=True):
            if _verified_step(path, self.run) is None:
                continue
            own = path if path.parent == self.own else adopt(path, self.own)
            if own is not None and (step := _verified_step(own, self.run)) is not None:
                return Saved(step, own)
        return None


def save(
    folder: Path, step: int, run: str, tensors: Arrays, state: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Write arrays and `state` as the checkpoint of run `run` after `step`; see `Checkpoints`."""
    write = partial(_write_arrays, tensors=tensors, state=state)
    return Checkpoints(run, folder).save(step, write, keep=keep).folder


def newest(folder: Path, run: str) -> Checkpoint | None:
    """Return the newest sound checkpoint of run `run`; torn and foreign ones are passed over."""
    found = Checkpoints(run, folder).newest()
    if found is None:
        return None
    state = json.loads((found.folder / _STATE).read_text(encoding="utf-8"))
    return Checkpoint(found.step, load_file(found.folder / _TENSORS), state)


def adopt(path: Path, into: Path) -> Path | None:
    """Link a checkpoint into the folder `into`, all or nothing; None when it went meanwhile."""
    final, half = into / path.name, into / f".{path.name}.{os.getpid()}"
    if final.exists():
        return final
    try:
        shutil.copytree(path, half, copy_function=os.link)
        half.rename(final)
    except FileNotFoundError:
        return None
    except shutil.Error:  # what copytree makes of a file that is gone
        return None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return final


@contextmanager
def disk_full_is_named(folder: Path) -> Iterator[None]:
    """Turn "no space left" into JobError("disk_full"); it may be retried once space is made."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error):
            raise JobError(
                "disk_full", f"no space left for {folder}: free some and try again", retry=True
            ) from error
        raise


def _write_arrays(folder: Path, tensors: Arrays, state: Mapping[str, Any]) -> None:
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / _TENSORS)
    (folder / _STATE).write_text(json.dumps(dict(state)), encoding="utf-8")


def _seal(folder: Path, run: str, step: int) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        _sync(path)
    listed = [_entry(folder, path) for path in files]
    manifest = folder / _MANIFEST
    manifest.write_text(json.dumps({"run": run, "step": step, "files": listed}), encoding="utf-8")
    _sync(manifest)
    _sync(folder)


def _entry(folder: Path, path: Path) -> dict[str, str | int]:
    name = path.relative_to(folder).as_posix()
    return {"name": name, "size": path.stat().st_size, "sha256": sha256_of(path)}


def _verified_step(folder: Path, run: str) -> int | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["run"] != run:
            return None
        for entry in manifest["files"]:
            path = folder / entry["name"]
            if path.stat().st_size != entry["size"] or sha256_of(path) != entry["sha256"]:
                return None
        return int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
