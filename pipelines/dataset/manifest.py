"""Rows of the manifest and lines of the rejects files."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.text import printable
from pipelines.dataset.image_row import CORRECTED, ImageRow
from pipelines.domain.quality_issues import PIXEL_ISSUES

# Separates several values in one cell of the manifest.
LIST_SEPARATOR = "; "
_ROWS_AT_ONCE = 8_192

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("phash", pa.string()),
        pa.field("format", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("label", pa.string()),
        pa.field("claims", pa.string()),
        pa.field("lesion_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("license", pa.string()),
        pa.field("attribution", pa.string()),
        pa.field("group_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("fold", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("copies", pa.int32(), nullable=False),
        pa.field("correction", pa.string()),
        pa.field("old_label", pa.string()),
        pa.field("issues", pa.string()),
        *(pa.field(f"{name}_score", pa.float32()) for name in PIXEL_ISSUES),
    ]
)

# Of the files of past images.
PAST_SCHEMA = pa.schema(
    [MANIFEST_SCHEMA.field(name) for name in ("id", "sha256", "lesion_id", "patient_id", "split", "fold")]
)
_SCORES = [f"{name}_score" for name in PIXEL_ISSUES]
_NOT_MEASURED = [None] * len(_SCORES)


def manifest_row(row: ImageRow) -> dict:
    """Return a row of the manifest; unknown values are null."""
    return {
        "id": row.image_id,
        "path": printable(row.path),
        "source": row.source,
        "sha256": row.sha256 or None,
        "phash": f"{row.phash:016x}" if row.phash else None,
        "format": row.format or None,
        "width": row.width or None,
        "height": row.height or None,
        "label": row.label or None,
        # A claim that the folders of two inputs share appears once.
        "claims": LIST_SEPARATOR.join(
            dict.fromkeys(f"{claim.source}: {' > '.join(claim.labels)}" for claim in row.claims)
        )
        or None,
        "lesion_id": LIST_SEPARATOR.join(row.lesion_ids) or None,
        "patient_id": LIST_SEPARATOR.join(row.patient_ids) or None,
        "license": LIST_SEPARATOR.join(row.licenses) or None,
        "attribution": LIST_SEPARATOR.join(row.attributions) or None,
        "group_id": row.group_id or None,
        "split": row.split or None,
        "fold": row.fold if row.fold >= 0 else None,
        "outcome": row.outcome,
        "reason": row.reason or (CORRECTED if row.correction else None),
        "copies": row.copies,
        "correction": row.correction or None,
        "old_label": row.old_label or None,
        "issues": LIST_SEPARATOR.join(row.issues) or None,
        **dict(zip(_SCORES, row.quality or _NOT_MEASURED, strict=True)),
    }


def parquet_bytes(rows: Iterable[dict], schema: pa.Schema) -> bytes:
    """Return a Parquet file of rows that have exactly the columns of the schema."""
    rows = iter(rows)
    # A dictionary takes ten times the memory of its row in a table, so few exist at once.
    batches = []
    while some := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        batches.append(pa.RecordBatch.from_pylist(some, schema=schema))
    buffer = io.BytesIO()
    # Without seams between the batches, which would show in the file.
    pq.write_table(pa.Table.from_batches(batches, schema=schema).combine_chunks(), buffer)
    return buffer.getvalue()


def parquet_rows(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Yield the rows of a Parquet file, a bounded number in memory at once.

    Args:
        file: The file.
        columns: The columns to read; None for all.
    """
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
        yield from batch.to_pylist()


def manifest_bytes(rows: Iterable[ImageRow]) -> bytes:
    """Return the manifest of these rows as Parquet."""
    return parquet_bytes(map(manifest_row, rows), MANIFEST_SCHEMA)


def reject_line(path: str, stage: str, reason: str, message: str) -> bytes:
    """Return one JSON line of a rejects file."""
    return (
        json.dumps(
            {"path": printable(path), "stage": stage, "reason": reason, "message": message}, ensure_ascii=False
        ).encode("utf-8", "backslashreplace")
        + b"\n"
    )


def rejects_bytes(rows: Iterable[ImageRow]) -> bytes:
    """Return JSON lines that say why files became no record."""
    return b"".join(reject_line(row.path, row.stage, row.reason, row.message) for row in rows)


def by_path(row: ImageRow) -> tuple[str, str]:
    """Return the sort key of a row in its tables; no two rows share one."""
    return row.relative, row.path


def is_dropped(row: ImageRow) -> bool:
    """Return whether a row belongs in the rejects file."""
    return bool(row.reason)
