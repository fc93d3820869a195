"""Energy that the processors used, where Linux lets us read their counters (RAPL)."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/class/powercap")


def read(root: Path = _ROOT) -> dict[str, tuple[int, int]]:
    """Return each package's counter in microjoules and where it wraps; empty where there is none.

    Subzones are parts of their package, so they are left out.
    """
    found = {}
    for zone in root.glob("intel-rapl:*"):
        if zone.name.count(":") != 1:
            continue
        try:
            now = int((zone / "energy_uj").read_text("ascii"))
            most = int((zone / "max_energy_range_uj").read_text("ascii"))
        except (OSError, ValueError):  # since 2020 only root may read it
            continue
        found[zone.name] = now, most
    return found


def joules(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float | None:
    """Return what was used between two readings by the whole machine, None where not measurable.

    A counter that wrapped more than once in between is not noticed: readings belong to one run of
    hours at most on common machines.
    """
    if not before or before.keys() != after.keys():
        return None
    used = 0
    for name, (start, most) in before.items():
        used += (after[name][0] - start) % (most + 1)
    return used / 1e6
