"""Keep freed memory in the process: a step frees and asks for the same hundreds of megabytes.

By default glibc gives large pieces back to the system, which clears each page of them again at
the next step: up to a sixth of a step's time on a virtual machine.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h


def keep_freed() -> bool:
    """Tell glibc to keep what is freed until the process ends; False where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    tune = ctypes.CDLL(None).mallopt
    return bool(tune(_MMAP_MAX, 0) and tune(_TRIM_THRESHOLD, 2**31 - 1))
