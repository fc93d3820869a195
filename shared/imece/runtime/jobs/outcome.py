"""How an attempt ended, decided from what its child left behind. No I/O but reading its files."""

from __future__ import annotations

import re
import signal
import unicodedata
from pathlib import Path
from typing import Any

from imece.events import Failure
from imece.events.base import BIDI_CONTROLS
from imece.runtime.jobs import files
from imece.runtime.jobs.model import OOM_KILLED, PEER_LOST, Failed, Outcome, Succeeded

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_NOISE = re.compile(r"^(\s|Traceback \(|\[?[~^=-]+$|During handling|The above exception)")
_NO_MODULE = re.compile(r": No module named [\w.']+$")
_IMPORT = ("ModuleNotFoundError:", "ImportError:")
_PEER_KILLED = re.compile(r"Signal \d+ \(\w+\) received by PID")
_TAIL_BYTES = 64 * 1024
_MAX_MESSAGE = 1_000


def decide(folder: Path, token: int, code: int, starved: str | None = None) -> Outcome:
    """Judge an attempt by its exit code and its files: 0 and a valid result is success.

    `starved` is what speaks for the out-of-memory killer, see `imece.runtime.jobs.oom`.
    """
    if code == 0:
        result = _result(folder, token)
        if result is not None:
            return Succeeded(result)
        message = f"the job exited with 0 without a valid {files.RESULT}"
        return failed("no_result", _with_last_line(message, folder), retry=False)
    if starved is not None and (code < 0 or _reason(folder) in (None, PEER_LOST)):
        # A helper's death ends the child with a code of its own and no name.
        message = f"killed by the kernel for want of memory: {starved}"
        return failed(OOM_KILLED, _with_last_line(message, folder), retry=True)
    if code < 0:
        message = f"killed by {_signal_name(-code)}"
        return failed("killed", _with_last_line(message, folder), retry=True)
    return _by_itself(folder, code)


def failed(reason: str, message: str, *, retry: bool) -> Failed:
    """Build a failure whose message is fit for an event."""
    safe = re.sub(r"[^A-Za-z0-9_.:@/+-]", "_", reason)[:200] or "crashed"
    return Failed(Failure(reason=safe, message=printable(message)), retry)


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, skipping tracebacks' inner lines."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    for line in reversed(re.split(r"[\r\n]+", _ANSI.sub("", text))):
        if line.strip() and not _NOISE.match(line):
            return printable(line.strip())
    return ""


def printable(text: str) -> str:
    """Return `text` in one line without control characters, NFC, short enough for an event."""
    kept = (
        " "
        if unicodedata.category(character) in {"Cc", "Cs"} or character in BIDI_CONTROLS
        else character
        for character in _ANSI.sub("", text)
    )
    line = " ".join("".join(kept).split())
    return unicodedata.normalize("NFC", line)[:_MAX_MESSAGE].rstrip()


def _result(folder: Path, token: int) -> dict[str, Any] | None:
    content = files.read_json(folder / files.RESULT)
    if content is None or content.get("token") != token:
        return None
    result = content.get("result")
    return result if isinstance(result, dict) else None


def _reason(folder: Path) -> str | None:
    told = files.read_json(folder / files.FAILURE)
    return None if told is None else str(told.get("reason"))


def _by_itself(folder: Path, code: int) -> Failed:
    told = files.read_json(folder / files.FAILURE)
    if told is not None and told.keys() >= {"reason", "message", "retry"}:
        return failed(str(told["reason"]), str(told["message"]), retry=bool(told["retry"]))
    line = last_line(folder / files.LOG)
    if _PEER_KILLED.search(line):  # torchrun's last word on one of its processes
        return failed("killed", line, retry=True)
    if code == files.BAD_CONFIG:
        return failed("bad_config", line or "the job refused its configuration", retry=False)
    if code == files.INTERRUPTED:
        return failed("interrupted", line or "someone else stopped the job", retry=True)
    if line.startswith(_IMPORT) or _NO_MODULE.search(line):
        return failed("import_failed", line, retry=False)
    if "No space left on device" in line or line.startswith("disk_full:"):
        return failed("disk_full", line, retry=True)
    return failed("crashed", line or f"the job exited with {code} and no message", retry=False)


def _with_last_line(message: str, folder: Path) -> str:
    line = last_line(folder / files.LOG)
    return f"{message}; last log line: {line}" if line else message


def _signal_name(number: int) -> str:
    hint = ", not by its runner" if number == signal.SIGKILL else ""
    try:
        return signal.Signals(number).name + hint
    except ValueError:
        return f"signal {number}"
