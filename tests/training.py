"""Data set versions and jobs for tests of trainer and adapter."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from imece.events import DatasetRef, Document, Record
from imece.runtime.artifacts import Artifacts, canonical_json
from imece.runtime.checkpoints import Checkpoints
from imece.runtime.jobs.child import ChildJob
from services.ingest import parquet

WORDS = ["ılık", "İzmir", "çay", "su", "dağ", "köy", "imece", "ekmek", "tree", "stone"]


def documents(count: int, seed: int = 0) -> list[Document]:
    """Return texts of few words, so that a tiny model learns something in seconds."""
    chance = random.Random(seed)
    return [Document(text=" ".join(chance.choices(WORDS, k=40))) for _ in range(count)]


def publish(
    artifacts: Artifacts,
    records: Iterable[Record],
    *,
    dataset: str = "facts",
    split: str = "train",
    authors: Mapping[int, str] | None = None,
    revoked: Collection[int] = (),
) -> DatasetRef:
    """Store one version of `dataset` the way ingest does, and return its reference.

    `authors` are users whose feedback some rows were, `revoked` the rows that were taken out.
    """
    rows = [
        {
            "row_id": str(number),
            "kind": record.kind,
            "split": split,
            "cluster": str(number),
            "origin": json.dumps({"user": (authors or {}).get(number)}),
            "record": record.model_dump_json(),
        }
        for number, record in enumerate(records)
    ]
    part = artifacts.put(f"datasets/{dataset}/part.parquet", parquet.part(rows))
    manifest = {
        "schema": 1,
        "dataset": dataset,
        "version": 1,
        "rows": len(rows) - len(revoked),
        "revoked": sorted(map(str, revoked)),
        "parts": [{"uri": part.uri, "digest": part.digest}],
    }
    stored = artifacts.put(f"datasets/{dataset}/manifest.json", canonical_json(manifest))
    return DatasetRef(dataset=dataset, version=1, digest=stored.digest, uri=stored.uri)


def child_job(folder: Path, request: dict[str, Any]) -> ChildJob:
    """Return a first attempt as the runner would prepare it, for calling the work in-process."""
    folder.mkdir(parents=True)
    return ChildJob("job-1", "m", 1, request, folder, Checkpoints("job-1", folder / "checkpoints"))
