"""Which questions stand in the rows that a model was trained on, by what its folder says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imece.errors import RejectedError
from imece.events import DatasetRef
from imece.runtime import contamination
from imece.runtime.artifacts import Artifacts
from services.evaluator.core import Item

KINDS = frozenset({"document", "instruction", "preference", "labelled", "rated"})


def trained_on(folder: Path) -> tuple[DatasetRef, ...]:
    """Return the data sets that a trained model or adapter names; none where it says nothing."""
    return tuple(DatasetRef.model_validate(ref) for ref in _about(folder).get("datasets", ()))


def origin(folder: Path) -> str:
    """Return what a trained model was made from, "" where its folder does not say."""
    return str((_about(folder).get("base") or {}).get("uri", ""))


def marked(
    artifacts: Artifacts, items: Sequence[Item], refs: Sequence[DatasetRef]
) -> tuple[list[Item], str]:
    """Return the items with the row that gives each away, and why rows could not be read."""
    cases = {item.id: item.expected[0] if item.scoring == "bits" else item.prompt for item in items}
    try:
        hits = contamination.find(cases, contamination.training_rows(artifacts, refs, KINDS))
    except RejectedError as error:
        return list(items), str(error)
    rows = {hit.case: hit.row for hit in hits}
    return [replace(i, leak=rows[i.id]) if i.id in rows else i for i in items], ""


def _about(folder: Path) -> dict[str, Any]:
    """Return what we wrote beside a model that we trained; empty for others."""
    about = folder / "imece.json"
    return json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
