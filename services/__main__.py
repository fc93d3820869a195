"""Run services in one process: `python -m services [NAME …]`; without names, all of them."""

from __future__ import annotations

import sys
from importlib import import_module

from imece.events import SERVICES
from imece.runtime.app import run


def main(names: list[str]) -> int:
    if names in (["-h"], ["--help"]):
        sys.stdout.write(f"{__doc__}\nServices: {', '.join(SERVICES)}\n")
        return 0
    unknown = [name for name in names if name.replace("_", "-") not in SERVICES]
    if unknown:
        known = ", ".join(SERVICES)
        sys.stderr.write(f"error: unknown service {unknown[0]!r}; there are {known}\n")
        return 2
    chosen = names or SERVICES
    modules = [import_module(f"services.{name.replace('-', '_')}.app") for name in chosen]
    return run(*(module.build for module in modules))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
