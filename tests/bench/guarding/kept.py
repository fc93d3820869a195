"""What a run has measured so far, one line a piece, so that a crash or a cut loses nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.guarding.measures import Tally
from tests.bench.results import commit


class Kept:
    """Results by name, in a file that only grows; a file of other code or sizes begins anew."""

    def __init__(self, path: Path, made_by: str) -> None:
        self._path = path
        self._found: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = _whole_lines(path)
        if lines and json.loads(lines[0]) == {"made_by": made_by}:
            for line in map(json.loads, lines[1:]):
                self._found[line["name"]] = line["found"]
        else:
            lines = [json.dumps({"made_by": made_by}) + "\n"]
        path.write_text("".join(lines), encoding="utf-8")

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Any:
        """Return what was kept under a name: a tally, or whatever JSON holds."""
        found = self._found[name]
        return Tally(**found["tally"]) if isinstance(found, dict) and "tally" in found else found

    def keep(self, name: str, found: Any) -> None:
        """Write a result down at once."""
        plain = {"tally": asdict(found)} if isinstance(found, Tally) else found
        line = json.dumps({"name": name, "found": plain})
        self._found[name] = json.loads(line)["found"]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def done(self) -> None:
        """Forget a run that is complete."""
        self._path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> list[str]:
    """Read the file; its last line may have been cut off."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def version(*about: object) -> str:
    """Name the code as it lies here, changes that are not committed included, and the sizes."""
    changed = subprocess.run(["git", "diff", "HEAD"], capture_output=True, check=False).stdout
    told = repr(about).encode() + changed
    return f"{commit()} {hashlib.sha256(told).hexdigest()[:16]}"
