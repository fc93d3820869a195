"""Read a data set version: every byte is checked against the digests that lead to it."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from imece.errors import RejectedError
from imece.events import DatasetRef, Record
from imece.runtime.artifacts import Artifacts

SCHEMA = 1
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)
_COLUMNS = ["row_id", "kind", "split", "cluster", "origin", "record"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the typed record, its split, and who sent it (`origin`: source, id, user)."""

    row_id: str
    kind: str
    split: str
    cluster: str
    origin: dict[str, Any]
    record: Record


def read(
    artifacts: Artifacts,
    ref: DatasetRef,
    kinds: Collection[str] | None = None,
    split: str | None = None,
    *,
    taken_out: bool = False,
) -> list[Row]:
    """Return the rows of `ref` in a stable order, those taken out since left out.

    `kinds` (such as ``{"instruction"}``) and `split` (train, validation, test) narrow it down.
    With `taken_out` it returns only what was taken out: its parts still hold it.
    `RejectedError` with the reason `dataset_missing` or `dataset_corrupt` when it is not what
    `ref` says. Blocks.
    """
    return list(stream(artifacts, ref, kinds, split, taken_out=taken_out))


def stream(
    artifacts: Artifacts,
    ref: DatasetRef,
    kinds: Collection[str] | None = None,
    split: str | None = None,
    *,
    taken_out: bool = False,
) -> Iterator[Row]:
    """Yield what `read` returns, with no more than one part of the data set in memory."""
    manifest = read_manifest(artifacts, ref)
    revoked = set(manifest["revoked"])
    count = 0
    for part in manifest["parts"]:
        for row in _part(artifacts, ref, part):
            if (row["row_id"] in revoked) == taken_out:
                count += 1
                if (kinds is None or row["kind"] in kinds) and split in (None, row["split"]):
                    yield _row(ref, row)
    if not taken_out and count != manifest["rows"]:
        raise _corrupt(ref, f"it has {count} rows, its manifest says {manifest['rows']}")


def read_manifest(artifacts: Artifacts, ref: DatasetRef) -> dict[str, Any]:
    """Return the manifest that `ref` names; `RejectedError` as for `read`."""
    data = _get(artifacts, ref, ref.uri, ref.digest)
    try:
        manifest = json.loads(data)
        named = (manifest["schema"], manifest["dataset"], manifest["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(ref, "its manifest is not one") from error
    if named != (SCHEMA, ref.dataset, ref.version):
        raise _corrupt(ref, f"its manifest is of (schema, data set, version) {named}")
    return dict(manifest)


def _part(artifacts: Artifacts, ref: DatasetRef, part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # pyarrow takes 0.2 s to import; services that only pass references on never need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = _get(artifacts, ref, part["uri"], part["digest"])
    try:
        table = pq.read_table(io.BytesIO(data), columns=_COLUMNS)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _corrupt(ref, f"{part['uri']} is not Parquet: {error}") from error
    yield from table.to_pylist()


def _row(ref: DatasetRef, row: dict[str, Any]) -> Row:
    try:
        record = _RECORD.validate_json(row["record"], extra="ignore")
        return Row(**{**row, "origin": json.loads(row["origin"]), "record": record})
    except (ValueError, ValidationError) as error:
        raise _corrupt(ref, f"a row cannot be read: {error}") from error


def _get(artifacts: Artifacts, ref: DatasetRef, uri: str, digest: str) -> bytes:
    try:
        return artifacts.get(uri, digest)
    except RejectedError as error:
        if error.reason == "artifact_missing":
            raise RejectedError(
                "dataset_missing", f"data set {ref.dataset} version {ref.version}: {error}"
            ) from error
        raise _corrupt(ref, str(error)) from error


def _corrupt(ref: DatasetRef, why: str) -> RejectedError:
    return RejectedError(
        "dataset_corrupt", f"data set {ref.dataset} version {ref.version}: {why}; publish it again"
    )
