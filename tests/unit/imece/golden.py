"""The committed golden examples, as events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imece.events import Envelope, decode
from imece.events.base import E

FOLDER = Path(__file__).parents[2] / "golden"


def record(path: Path) -> tuple[list[tuple[str, bytes]], bytes, bytes]:
    """Return headers, key and value of a golden file."""
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    headers = [(name, text.encode()) for name, text in body["headers"].items()]
    return headers, body["key"].encode(), json.dumps(body["value"]).encode()


def golden(kind: type[E]) -> Envelope[E]:
    """Return the golden example of an event."""
    return decode(kind, *record(FOLDER / kind.topic.name / "binary.json"))
