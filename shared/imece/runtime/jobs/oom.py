"""Whether the kernel's out-of-memory killer ended a child: its counters before and after.

Of our own control group where there is one (cgroup v2, else v1), else of the whole machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_WORD = "oom_kill"


@dataclass(frozen=True, slots=True)
class Seen:
    """One reading: how many processes were killed for want of memory, and who counted."""

    source: str
    kills: int
    limit: str = ""
    """The memory limit in words where the source has one."""


def read(root: Path = Path("/")) -> Seen | None:
    """Return the counter nearest to this process, None where the system has none."""
    group = _group(root)
    for path in (*group, root / "proc/vmstat"):
        kills = _counted(path)
        if kills is not None:
            return Seen(f"/{path.relative_to(root)}", kills, _limit(path.parent))
    return None


def evidence(before: Seen | None, after: Seen | None) -> str | None:
    """Say what speaks for a kill between two readings, None where nothing does."""
    if before is None or after is None or before.source != after.source:
        return None
    if after.kills <= before.kills:
        return None
    limit = f" (limit {after.limit})" if after.limit else ""
    return f"{after.source}{limit} counts {_WORD} {before.kills} -> {after.kills}"


def _group(root: Path) -> list[Path]:
    """Return where our control group may count, the unified hierarchy first."""
    found: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        here = path.lstrip("/")
        base = root / "sys/fs/cgroup"
        if number == "0" and not controllers:
            # `memory.events` counts what happens below the group too, so a parent is no rival.
            found = [base / here / "memory.events", base / "memory.events", *found]
        elif "memory" in controllers.split(","):
            found += [
                base / "memory" / here / "memory.oom_control",
                base / "memory/memory.oom_control",
            ]
    return found


def _counted(path: Path) -> int | None:
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if name == _WORD and value.strip().isdecimal():
            return int(value)
    return None


def _limit(folder: Path) -> str:
    for name in ("memory.max", "memory.limit_in_bytes"):
        value = _text(folder / name).strip()
        if value.isdecimal() and int(value) < 2**60:  # v1 says "none" as a huge number
            return f"{int(value) // 2**20} MiB"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
