"""Graded answers per model and suite, kept by what they depend on, so that none is made twice."""

from __future__ import annotations

import json

from imece.errors import RejectedError
from imece.runtime.artifacts import Artifacts, canonical_json, digest
from services.evaluator import core
from services.evaluator.core import Item


def key(base_digest: str, adapter_digest: str | None, suite_digest: str, decoding: str) -> str:
    """Return the name of the answers of one model to one suite."""
    parts = [base_digest, adapter_digest, suite_digest, decoding, core.GRADER]
    return digest(canonical_json(parts)).removeprefix("sha256:")


def find(artifacts: Artifacts, name: str) -> list[Item] | None:
    """Return stored answers; None where there are none or their bytes are not what was stored."""
    try:
        seal = json.loads(artifacts.get(f"{artifacts.root}/{_path(name)}.json"))
        return core.load(artifacts.get(f"{artifacts.root}/{_path(name)}.jsonl", seal["digest"]))
    except (RejectedError, ValueError, KeyError):
        return None  # made again, and overwritten


def keep(artifacts: Artifacts, name: str, items: list[Item]) -> None:
    """Store answers; the seal with their digest comes last."""
    stored = artifacts.put(f"{_path(name)}.jsonl", core.dump(items))
    artifacts.put(f"{_path(name)}.json", canonical_json({"digest": stored.digest}))


def _path(name: str) -> str:
    return f"evaluations/answers/{name}"
