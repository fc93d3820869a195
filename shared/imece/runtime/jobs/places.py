"""Where a service's attempts run, as its settings choose: on this machine or in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from imece.runtime.jobs.devices import Devices
from imece.runtime.jobs.kubernetes import Kubernetes
from imece.runtime.jobs.launch import Launcher
from imece.runtime.jobs.process import Processes
from imece.runtime.settings import PodSettings


class Places(TypedDict):
    """What `Jobs` wants to know about it."""

    launcher: Launcher
    devices: Devices | None
    slots: int


def places(
    launcher: Literal["process", "kubernetes"], service: str, folder: Path, gpu_memory_mib: int
) -> Places:
    """Return the launcher, the devices to hold and how many jobs to run at once.

    `folder` holds the locks of this machine's GPUs. A cluster gives out its devices itself.
    """
    if launcher == "kubernetes":
        pods = PodSettings()
        return Places(launcher=Kubernetes(service, pods), devices=None, slots=pods.at_once)
    return Places(launcher=Processes(), devices=Devices(folder, gpu_memory_mib), slots=1)
