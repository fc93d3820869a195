"""The error tree; every message says what happened, to what, and what to do.

ImeceError
├── RejectedError      the message or request is bad: park it, never retry
│   └── ContractError  it breaks the event contract itself
├── UnavailableError   something outside is down: retry, then park
├── ConfigError        the operator has to change a setting: exit code 2
└── JobError           a job failed for a reason worth naming: becomes an event
"""

from __future__ import annotations

import errno

# Also what a quota or a limit on the size of files says.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ImeceError(Exception):
    """Base of all errors that imece raises on purpose."""


class RejectedError(ImeceError):
    """The input is bad and stays bad; `reason` is a stable code such as ``unknown_base``."""

    def __init__(self, reason: str, message: str, pointer: str = "") -> None:
        """Keep the reason code, the sentence for people and the JSON pointer to the culprit."""
        super().__init__(message)
        self.reason = reason
        self.pointer = pointer


class ContractError(RejectedError):
    """The message is not a valid event of its topic."""


class UnavailableError(ImeceError):
    """A broker, database, store or endpoint does not answer now but may later."""


class ConfigError(ImeceError):
    """A setting or the environment is wrong; the message names it."""


class JobError(ImeceError):
    """A job failed; `reason` is a stable code, `retry` tells whether trying again can help."""

    def __init__(self, reason: str, message: str, *, retry: bool = False) -> None:
        """Keep the reason code and whether another attempt is sensible."""
        super().__init__(message)
        self.reason = reason
        self.retry = retry


def disk_is_full(error: BaseException) -> bool:
    """Tell whether an error means that the disk has no room, or may not take more from us.

    Libraries written in Rust say so in their words alone.
    """
    if getattr(error, "errno", None) in _FULL:
        return True
    return any(f"os error {number})" in str(error) for number in _FULL)
