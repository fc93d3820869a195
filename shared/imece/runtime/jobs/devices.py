"""GPUs of this machine: which have room, and one job on each, or on several at once.

A device is held by a locked file, so it is free again the moment its holder dies. Nothing here
imports torch; readings come from nvidia-smi.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()
_QUERY = ("--query-gpu=uuid,memory.free,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as measured; memory in MiB."""

    uuid: str
    free: int
    total: int


def parse(text: str) -> list[Device]:
    """Return what nvidia-smi's CSV says; a device that reports no numbers is left out."""
    found = []
    for line in text.splitlines():
        uuid, *sizes = (part.strip() for part in line.split(","))
        if len(sizes) == 2 and all(size.isdecimal() for size in sizes):
            found.append(Device(uuid, int(sizes[0]), int(sizes[1])))
    return found


def visible(devices: Sequence[Device], named: str | None) -> list[Device]:
    """Return those that CUDA_VISIBLE_DEVICES names, by number or start of their id; None: all.

    nvidia-smi shows all to a service that was given some. Like CUDA, stop at an unknown one.
    """
    if named is None:
        return list(devices)
    chosen: list[Device] = []
    for word in (part.strip() for part in named.split(",")):
        by_id = [device for device in devices if word and device.uuid.startswith(word)]
        at = int(word) if word.isdecimal() else len(devices)
        found = list(devices[at : at + 1]) or by_id
        if not found:
            break
        chosen += found
    return chosen


def by_room(devices: Sequence[Device], needed: int) -> list[str]:
    """Return the devices with at least `needed` MiB free, those with most first."""
    fitting = [device for device in devices if device.free >= needed]
    return [device.uuid for device in sorted(fitting, key=lambda d: (-d.free, d.uuid))]


def measure() -> list[Device]:
    """Return this machine's GPUs; none where there is no nvidia-smi or it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", *_QUERY], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("devices.unknown", error=str(error))
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")  # noqa: TID251 - CUDA's own, not a setting
    return visible(parse(done.stdout), named)


class Devices:
    """Gives a job a GPU of its own, to all services of this machine together."""

    def __init__(
        self, folder: Path, needed: int, measure: Callable[[], list[Device]] = measure
    ) -> None:
        """Lock in `folder`; a device with less than `needed` MiB free is not given."""
        self._folder, self._needed, self._measure = folder, needed, measure

    def most(self) -> int | None:
        """Return how many this machine has, None where it has none and the CPU does the work."""
        return len(self._measure()) or None

    @contextmanager
    def hold(self, count: int) -> Iterator[dict[str, str] | None]:
        """Hold `count` devices at once; yields the environment of who may use them.

        None where fewer are free; then none is held. A machine without GPUs gives an empty
        environment: its jobs run on the CPU, in as many processes.
        """
        devices = self._measure()
        if not devices:
            yield {}
            return
        held: dict[str, int] = {}
        try:
            for uuid in by_room(devices, self._needed):
                if len(held) < count and (lock := self._lock(uuid)) is not None:
                    held[uuid] = lock
            if len(held) < count:
                _release(held)
            yield {"CUDA_VISIBLE_DEVICES": ",".join(held)} if held else None
        finally:
            _release(held)

    def _lock(self, uuid: str) -> int | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / f"{uuid}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


def _release(held: dict[str, int]) -> None:
    while held:
        os.close(held.popitem()[1])
