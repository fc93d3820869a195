"""Checkpoints of a training run: safetensors and JSON in a folder that appears whole or not at all.

The manifest, written last, holds the sha256 of the other files, so a torn folder is recognised.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from imece.errors import JobError

Arrays = dict[str, NDArray[Any]]
_MANIFEST, _TENSORS, _STATE = "manifest.json", "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on after `step` steps."""

    step: int
    tensors: Arrays
    state: dict[str, Any]


def save(
    folder: Path, step: int, run: str, tensors: Arrays, state: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Write a checkpoint of run `run` after `step` and drop all but the newest `keep`.

    `run` is a digest of whatever makes two runs the same; only that run resumes from it.
    Raises JobError("disk_full") where the disk is full; older checkpoints stay usable then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / f"step-{step:08d}", folder / f".step-{step:08d}.{os.getpid()}"
    try:
        with disk_full_is_named(folder):
            partial.mkdir(exist_ok=True)
            save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, partial / _TENSORS)
            (partial / _STATE).write_text(json.dumps(dict(state)), encoding="utf-8")
            files = {name: _sha256(partial / name) for name in (_TENSORS, _STATE)}
            manifest = {"step": step, "run": run, "files": files}
            (partial / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path, run: str) -> Checkpoint | None:
    """Return the newest sound checkpoint of run `run`; torn and foreign ones are passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        if (found := _load(path, run)) is not None:
            return found
    return None


@contextmanager
def disk_full_is_named(folder: Path) -> Iterator[None]:
    """Turn "no space left" into JobError("disk_full"); it may be retried once space is made."""
    try:
        yield
    except Exception as error:
        # safetensors reports I/O failures as its own error, with the number only in the text.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or f"os error {errno.ENOSPC}" in str(error):
            raise JobError(
                "disk_full", f"no space left for {folder}: free some and try again", retry=True
            ) from error
        raise


def _load(path: Path, run: str) -> Checkpoint | None:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["run"] != run:
            return None
        if any(_sha256(path / name) != digest for name, digest in manifest["files"].items()):
            return None
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        return Checkpoint(int(manifest["step"]), load_file(path / _TENSORS), state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
