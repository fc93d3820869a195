"""The base of a training: what a request may name, and its folder on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imece.errors import RejectedError
from imece.events import DatasetRef
from imece.local import models
from imece.runtime.artifacts import MANIFEST, Artifacts, digest

SCHEMES = ("hf:", "wheel:", "file:///", "/", "s3://")


def check(base: str | None, datasets: Sequence[DatasetRef]) -> None:
    """Raise RejectedError where a request names a base or data sets that could never be read."""
    if base is not None and not base.startswith(SCHEMES):
        raise RejectedError(
            "unknown_base_scheme",
            f"base {base!r} has no known scheme; write hf:ORG/NAME@REV, wheel:NAME==VERSION,"
            " an absolute folder, or where a model was stored by us",
            "/base",
        )
    digests = [ref.digest for ref in datasets]
    if len(set(digests)) < len(digests):
        raise RejectedError(
            "repeated_dataset",
            "a data set version is named twice, so its rows would count twice; name it once",
            "/datasets",
        )


def resolve(uri: str, artifacts: Artifacts, cache: Path) -> models.LocalModel:
    """Return the base that `uri` names; one in a remote artifact store is copied and verified.

    Such a one is known by the digest of its manifest, as the event that announced it says.
    RejectedError: "artifact_missing" where it is not in our store, or as for `models.resolve`.
    """
    if not uri.startswith("s3://"):
        return models.resolve(uri, cache)
    known = digest(artifacts.get(f"{uri}/{MANIFEST}"))
    folder = artifacts.fetch_folder(uri, known, cache / "artifacts")
    return models.LocalModel(uri, folder, known.removeprefix("sha256:"))
