"""Rows as Parquet: the same rows give the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TEXT = ("row_id", "kind", "split", "cluster", "origin", "record")
_FLAT = ("prompt", "response", "text", "label")
COLUMNS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in _TEXT]
    + [pa.field(name, pa.string()) for name in _FLAT]
)


def part(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return one Parquet file of stored rows, in the order given."""
    columns: dict[str, list[str | None]] = {name: [row[name] for row in rows] for name in _TEXT}
    records = [json.loads(row["record"]) for row in rows]
    for name in _FLAT:
        columns[name] = [record.get(name) for record in records]
    sink = io.BytesIO()
    table = pa.table(columns, schema=COLUMNS)
    pq.write_table(table, sink, compression="zstd", compression_level=3, row_group_size=2_000)
    return sink.getvalue()
